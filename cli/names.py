"""Which instances a command is about."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.language import tr
from settings import SettingsError, load
from state import keys

if TYPE_CHECKING:
    # Only for the type: nobody who asks for help waits for the client of the state server.
    from cli.session import Session


def configured(config_dir: Path) -> tuple[str, ...]:
    """Return the names of the instance files, sorted; files are not looked into."""
    return tuple(sorted(path.stem for path in config_dir.glob("*.json")))


def started(session: Session) -> tuple[str, ...]:
    """Return every instance that was ever started, sorted."""
    return tuple(sorted(str(name) for name in session.client.smembers(keys.INSTANCES)))


def require_known(session: Session, names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` without doubles.

    Raises `CliError` for names that belong to nothing, with the nearest that do.
    """
    known = {*configured(session.settings.config_dir), *started(session)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CliError("\n".join(unknown_name(name, known) for name in unknown), ExitCode.BAD_USAGE)
    return tuple(dict.fromkeys(names))


def unknown_name(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    if near:
        return tr("there is no instance {name}; did you mean {near}?", name=repr(name), near=repr(near[0]))
    there = ", ".join(sorted(known)[:20]) if known else tr("none yet")
    return tr("there is no instance {name}; there is: {names}", name=repr(name), names=there)


def complete_instance(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of an instance from the files on disk."""
    try:
        names = configured(load().config_dir)
    except SettingsError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
