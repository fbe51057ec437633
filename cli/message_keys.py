"""`manage.py new-message-key`, and what the doctor says about such keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from cli.checks import Finding, Level
from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.options import debug_option, json_option, output_for
from runner.message_keys import (
    MessageKeyError,
    new_message_key,
    own_certificate,
    trusted_certificates,
)
from settings import MESSAGE_KEY_FILE

#: Long enough to notice; a worker does not start with a certificate that has ended.
WARN_DAYS = 60
DAY_S = 86_400


@click.command("new-message-key", epilog=EPILOG)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="", help="Tells this host's certificate from others'; default: its name.")
@json_option
@debug_option
def command(directory: Path, name: str, as_json: bool, debug: bool) -> ExitCode:
    """Make the keys with which workers sign their messages, in a new DIRECTORY.

    CLEANBOOK_MESSAGE_KEY_DIR=DIRECTORY, for all workers and Flower, turns signing on. With several hosts,
    each makes its own, and every `trusted` folder holds the certificates of all (docs/hardening.md).

    \b
    Examples:
      manage.py new-message-key ~/.cleanbook-keys
    """
    output = output_for(as_json)
    try:
        written = new_message_key(directory, name=name, now_s=time.time())
    except (MessageKeyError, OSError) as error:
        raise CliError(told(error)) from error
    if as_json:
        output.data({"exit_code": 0, "files": [str(path) for path in written]})
    else:
        for path in written:
            output.line(str(path))
        output.say(
            tr(
                "set CLEANBOOK_MESSAGE_KEY_DIR={folder} for all workers and Flower, and restart them",
                folder=directory,
            )
        )
    return ExitCode.DONE


def message_key_checks(directory: Path | None, now_s: float) -> Iterator[Finding]:
    """Look at the keys that sign messages: there, private, trusted, not about to end."""
    check = tr("message keys")
    if directory is None:
        text = tr("none: whoever can write to the broker can send tasks")
        yield Finding(check=check, level=Level.OK, text=text)
        return
    again = tr("{command}, and see docs/hardening.md", command=f"manage.py new-message-key {directory}")
    key_file = directory / MESSAGE_KEY_FILE
    try:
        own, trusted = own_certificate(directory), trusted_certificates(directory)
        readable = key_file.stat().st_mode & 0o077
    except (MessageKeyError, OSError) as error:
        yield Finding(check=check, level=Level.FAIL, text=told(error), advice=again)
        return
    if readable:
        yield Finding(
            check=check,
            level=Level.FAIL,
            text=tr("{file} can be read by others: they can send tasks", file=key_file),
            advice=tr("{command}, or better: make a new one", command=f"chmod 600 {key_file}"),
        )
    if own.fingerprint not in {each.fingerprint for each in trusted}:
        text = tr("{file} is not among the trusted ones: this host refuses its own messages", file=own.path)
        yield Finding(check=check, level=Level.FAIL, text=text, advice=again)
    first = min((own, *trusted), key=lambda each: each.ends_at_s)
    days = int((first.ends_at_s - now_s) // DAY_S)
    if days < 0:
        text = tr("{file} has ended: workers do not start", file=first.path)
        yield Finding(check=check, level=Level.FAIL, text=text, advice=again)
    elif days < WARN_DAYS:
        text = tr("{file} ends in {days} days", file=first.path, days=days)
        yield Finding(check=check, level=Level.WARN, text=text, advice=again)
    else:
        text = tr("{count} trusted, the first ends in {days} days", count=len(trusted), days=days)
        yield Finding(check=check, level=Level.OK, text=text)
