"""`manage.py web`: the HTTP API and the dashboard, never without a password; `web-token` for programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from api_tokens import TOKENS_FILE, TokenError, TokenFile
from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.options import debug_option, json_option, output_for
from cli.output import Cell, Output, iso
from passwords import kept_password
from settings import load

#: The checkout, where `python -m web` finds its packages.
ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("NAME", "MADE")
#: Names in the run directory, as `web` has them; that package is for its own process.
PASSWORD_FILE = "web-password"


@click.command(epilog=EPILOG)
@click.option("--host", help="Where it listens, CLEANBOOK_WEB_HOST (127.0.0.1) otherwise.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port, CLEANBOOK_WEB_PORT (8700) otherwise.")
@debug_option
def web(host: str | None, port: int | None, debug: bool) -> ExitCode:
    """Run the dashboard and the HTTP API, until SIGTERM or Ctrl-C.

    People log in with a password: CLEANBOOK_WEB_PASSWORD or, without that, one that is made at the first
    start and kept in the run directory, readable by you alone. Programs send a token (manage.py web-token).
    It listens on this machine only; in front of another address put a proxy with TLS (docs/api.md).

    \b
    Examples:
      manage.py web
      manage.py web --port 8800
    """
    settings = load()
    output = output_for(as_json=False)
    environ = dict(settings.environ)
    environ["CLEANBOOK_WEB_HOST"] = host or settings.web_host
    environ["CLEANBOOK_WEB_PORT"] = str(port or settings.web_port)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH", ""))))
    where = "CLEANBOOK_WEB_PASSWORD"
    if not settings.web_password:
        path = settings.run_dir / PASSWORD_FILE
        kept_password(path)
        where = str(path)
    address = environ["CLEANBOOK_WEB_HOST"]
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{environ['CLEANBOOK_WEB_PORT']}"
    output.say(tr("dashboard: {url}, password in {where}", url=url, where=where))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, (sys.executable, "-m", "web"), environ)


@click.command("web-token", epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--revoke", is_flag=True, help="Take the token of this name away, at once.")
@json_option
@debug_option
def web_token(name: str | None, revoke: bool, as_json: bool, debug: bool) -> ExitCode:
    """Make a token with which a program uses the HTTP API; it is shown once. Without a name: list them.

    Kept are names and hashes, in the run directory. What a token does is recorded under its name.

    \b
    Examples:
      manage.py web-token backup-script
      manage.py web-token backup-script --revoke
      manage.py web-token --json
    """
    output = output_for(as_json)
    tokens = TokenFile(load().run_dir / TOKENS_FILE)
    if name is None and revoke:
        raise click.UsageError(tr("--revoke needs the name of a token"))
    try:
        if name is None:
            _list(output, tokens)
        elif revoke:
            tokens.revoke(name)
            output.say(f"{name}: {tr('revoked')}")
            if as_json:
                output.data({"exit_code": 0, "name": name, "revoked": True})
        else:
            _make(output, tokens, name)
    except TokenError as error:
        raise CliError(told(error), ExitCode.BAD_USAGE) from error
    return ExitCode.DONE


def _list(output: Output, tokens: TokenFile) -> None:
    rows = tokens.all()
    if output.as_json:
        listed = [{"name": row.name, "created_at": iso(row.created_ms)} for row in rows]
        output.data({"exit_code": 0, "tokens": listed})
    elif rows:
        output.table(COLUMNS, [[Cell(text=row.name, style="name"), str(iso(row.created_ms))] for row in rows])
    else:
        output.say(tr("no token yet; manage.py web-token NAME makes one"))


def _make(output: Output, tokens: TokenFile, name: str) -> None:
    token = tokens.make(name)
    if output.as_json:
        output.data({"exit_code": 0, "name": name, "token": token})
    else:
        output.say(tr("the token of {name}, shown this once:", name=name))
        output.line(token)
