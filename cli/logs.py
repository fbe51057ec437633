"""`manage.py logs`: what the processes logged about one instance."""

from __future__ import annotations

import heapq
import json
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.log_files import Tail, log_files
from cli.log_lines import LEVELS, LogLine, lines_about
from cli.names import complete_instance
from cli.options import debug_option, json_option, output_for
from cli.output import Output, iso
from cli.when import since_option
from settings import load

#: How often files are looked at.
LOOK_S = 0.2
LEVEL_STYLES = {"debug": "dim", "warning": "warn", "error": "bad", "critical": "bad"}
JOURNAL = "journalctl -u 'cleanbook*' -o cat --since -1h"


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME", shell_complete=complete_instance)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is logged from now on, until Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="The newest so many."
)
@since_option
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="Of this level, or graver.")
@click.option(
    "--file", "files", multiple=True, metavar="PATH", help="Read this file instead; - is standard input."
)
@json_option
@debug_option
def logs(
    name: str,
    follow: bool,
    limit: int,
    since_ms: int | None,
    level: str,
    files: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Show what workers, feed and the others logged about an instance, oldest first.

    Reads the logs of `manage.py up` and `demo` in the run directory, JSON lines or columns. Where systemd or
    containers keep the logs, give them to --file -. With --follow, --json prints one object per line.

    \b
    Examples:
      manage.py logs bp_sol_01
      manage.py logs bp_sol_01 --follow --level warning
      manage.py logs bp_sol_01 --since 10m --json
      journalctl -u 'cleanbook*' -o cat --since -1h | manage.py logs bp_sol_01 --file -
    """
    output = output_for(as_json)
    chosen = _Chosen(name, since=iso(since_ms) or "", level=level)
    if "-" in files:
        if len(files) > 1:
            raise click.UsageError(tr("--file - and another --file exclude each other"))
        return _read_input(output, chosen, limit, follow=follow)
    run_dir = load().run_dir
    paths = tuple(Path(path) for path in files) or log_files(run_dir)
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise CliError(tr("there is no file {names}", names=", ".join(missing)), ExitCode.BAD_USAGE)
    if not paths:
        raise CliError(
            tr(
                "there are no logs in {folder}: no `manage.py up` ran here. Under systemd: {command}",
                folder=run_dir,
                command=f"{JOURNAL} | manage.py logs {name} --file -",
            )
        )
    tails = {path: Tail(path=path) for path in paths}
    newest: deque[LogLine] = deque(maxlen=limit)
    for line in heapq.merge(*(chosen.of(tail) for tail in tails.values()), key=lambda line: line.at):
        newest.append(line)
    if not follow:
        nothing = tr("no such line in {count} files in {folder}", count=len(paths), folder=run_dir)
        return _tell_all(output, newest, nothing=nothing if not files else tr("no such line there"))
    try:
        for line in newest:
            _tell(output, line)
        _follow(output, chosen, tails, None if files else run_dir)
    except KeyboardInterrupt:
        # The way to end it.
        return ExitCode.DONE
    return ExitCode.DONE


class _Chosen:
    """Which lines are wanted."""

    def __init__(self, name: str, *, since: str, level: str) -> None:
        self.name = name
        self._since = since.rstrip("Z")
        self._levels = LEVELS[LEVELS.index(level) :]

    def of(self, tail: Tail) -> Iterator[LogLine]:
        """Yield the wanted lines that a file has got."""
        return self.among(tail.lines(), source=tail.path.stem)

    def among(self, lines: Iterable[str], *, source: str) -> Iterator[LogLine]:
        """Yield the wanted ones of some lines."""
        for line in lines_about(self.name, lines, source=source):
            if line.level in self._levels and line.at >= self._since:
                yield line


def _read_input(output: Output, chosen: _Chosen, limit: int, *, follow: bool) -> ExitCode:
    found = chosen.among((line.rstrip("\n") for line in sys.stdin), source="")
    if not follow:
        return _tell_all(output, deque(found, maxlen=limit), nothing=tr("no such line there"))
    try:
        for line in found:
            _tell(output, line)
    except KeyboardInterrupt:
        return ExitCode.DONE
    return ExitCode.DONE


def _follow(output: Output, chosen: _Chosen, tails: dict[Path, Tail], run_dir: Path | None) -> None:
    pause = threading.Event()
    while True:
        if run_dir is not None:
            # A stack that starts makes its files anew.
            for path in log_files(run_dir):
                tails.setdefault(path, Tail(path=path))
        found = [line for tail in tails.values() for line in chosen.of(tail)]
        for line in sorted(found, key=lambda line: line.at):
            _tell(output, line)
        pause.wait(LOOK_S)


def _tell_all(output: Output, lines: deque[LogLine], *, nothing: str) -> ExitCode:
    if output.as_json:
        output.data({"exit_code": 0, "lines": [line.as_json() for line in lines]})
        return ExitCode.DONE
    for line in lines:
        _tell(output, line)
    if not lines:
        output.say(nothing)
    return ExitCode.DONE


def _tell(output: Output, line: LogLine) -> None:
    if output.as_json:
        click.echo(json.dumps(line.as_json(), ensure_ascii=False))
    else:
        output.line(line.text(), LEVEL_STYLES.get(line.level, ""))
