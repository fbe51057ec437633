"""`manage.py flower`: Celery's web page, never without a password."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.options import debug_option, output_for
from passwords import kept_password
from settings import load

#: The checkout: where `celery -A tasks` finds its packages.
ROOT = Path(__file__).resolve().parents[1]
PASSWORD_FILE = "flower-password"
USER = "cleanbook"
#: Either of these keeps strangers out; the other variables of Flower only change its looks.
CREDENTIALS = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
OPEN_TO_ALL = "FLOWER_UNAUTHENTICATED_API"
#: What of a task is worth a column: whose it is, and what came of it.
LOOKS = ("--max-tasks=2000", "--tasks-columns=name,args,state,result,received,runtime,worker,uuid")


@click.command(epilog=EPILOG)
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True, help="The port.")
@click.option("--url-prefix", metavar="PATH", help="Behind a proxy: the path it is served at, as flower.")
@click.option("--read-only", is_flag=True, help="Without the buttons that end tasks and workers.")
@debug_option
def flower(address: str, port: int, url_prefix: str | None, read_only: bool, debug: bool) -> ExitCode:
    """Run Flower: workers and their tasks in a browser, and buttons that end them.

    It asks for a user and a password: FLOWER_BASIC_AUTH (user:password) or, without that, one that is made
    at the first start and kept in the run directory, readable by you alone.

    \b
    Examples:
      manage.py flower
      FLOWER_BASIC_AUTH=me:secret manage.py flower --port 5556
      manage.py flower --url-prefix flower --read-only
    """
    settings = load()
    output = output_for(as_json=False)
    path_there = _path(url_prefix) if url_prefix else ""
    environ = dict(settings.environ)
    if environ.get(OPEN_TO_ALL, "").strip().lower() not in ("", "0", "false", "no", "off"):
        raise CliError(
            tr(
                "{variable} opens Flower's API, which can end tasks and workers, to everybody; unset it",
                variable=OPEN_TO_ALL,
            ),
            ExitCode.BAD_USAGE,
        )
    if not _has_credentials(environ):
        path = settings.run_dir / PASSWORD_FILE
        # Through the environment: anybody on the machine can read a command line.
        environ["FLOWER_BASIC_AUTH"] = f"{USER}:{kept_password(path)}"
        output.say(
            tr(
                "Flower: {url}, user {user}, password in {file}",
                url=f"http://{address}:{port}",
                user=USER,
                file=path,
            )
        )
    environ["BROKER_URL"] = settings.broker_url
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH", ""))))
    words = ["celery", "-A", "tasks", "flower", f"--address={address}", f"--port={port}", *LOOKS]
    if path_there:
        # Behind a proxy, whose word about who asks counts.
        words += [f"--url-prefix={path_there}", "--xheaders"]
    if read_only:
        words.append("--read_only")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, (sys.executable, "-m", *words), environ)


def _path(prefix: str) -> str:
    """Return a path as Flower takes it. Raises `CliError` for what is none."""
    path = prefix.strip("/")
    if not re.fullmatch(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*", path):
        raise CliError(
            tr(
                "--url-prefix is {prefix}; it must be a path such as flower, of letters, digits and ._~-/",
                prefix=repr(prefix),
            ),
            ExitCode.BAD_USAGE,
        )
    return path


def _has_credentials(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").strip() for name in CREDENTIALS)
