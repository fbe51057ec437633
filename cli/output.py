"""Data to standard output, everything else to standard error; colours only on a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from cli.language import padded, tr, width

# Under this name here, too: whatever a command prints it takes from this module.
from state.times import iso as iso

if TYPE_CHECKING:
    from rich.console import Console

#: What a style looks like; names say what they mean.
STYLES: Mapping[str, Mapping[str, Any]] = {
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "dim": {"dim": True},
    "name": {"bold": True},
}
#: Control characters but for the line feed and the tab, and what turns the direction of writing.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A text in a table with its style, empty for none."""

    text: str
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a command speaks."""

    as_json: bool = False
    #: The value of the variable NO_COLOR; any text switches colours off.
    no_color: str = ""

    def data(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON object of a command."""
        text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
        click.echo(text)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line of data for people."""
        click.echo(self.painted(text, style, sys.stdout), color=True)

    def say(self, text: str, style: str = "") -> None:
        """Print a line about what goes on, to standard error."""
        click.echo(self.painted(text, style, sys.stderr), err=True, color=True)

    def warn(self, text: str) -> None:
        """Print a warning, to standard error."""
        self.say(tr("warning: {text}", text=text), "warn")

    def painted(self, text: str, style: str, stream: TextIO) -> str:
        """Return `text` as `stream` should get it."""
        text = printable(text)
        return click.style(text, **STYLES[style]) if style and self.colours(stream) else text

    def colours(self, stream: TextIO) -> bool:
        """Tell whether `stream` is a terminal that wants colours."""
        return stream.isatty() and not self.no_color

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> None:
        """Print a table of data: aligned on a terminal, untruncated elsewhere."""
        cells = [[cell if isinstance(cell, Cell) else Cell(text=cell) for cell in row] for row in rows]
        titles = [tr(title) for title in columns]
        widths = [
            max(width(text) for text in (title, *(row[index].text for row in cells)))
            for index, title in enumerate(titles)
        ]
        self.line(_aligned(titles, widths), "dim")
        for row in cells:
            painted = [
                self.painted(padded(cell.text, columns), cell.style, sys.stdout)
                for cell, columns in zip(row, widths, strict=True)
            ]
            click.echo("  ".join(painted).rstrip(), color=True)

    def live_console(self) -> Console | None:
        """Return a console for live progress, None when standard error is no terminal."""
        if not sys.stderr.isatty():
            return None
        from rich.console import Console

        return Console(stderr=True, no_color=bool(self.no_color), highlight=False)


def printable(text: str) -> str:
    """Return a text without what steers a terminal: somebody's reason could forge what is shown."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def clock(at_ms: int) -> str:
    """Return the time of day of a moment, UTC."""
    return str(iso(at_ms))[11:]


def seconds(length_ms: int) -> str:
    """Return a length of time for people."""
    return f"{length_ms / 1000:.3f} s" if abs(length_ms) < 10_000 else f"{length_ms / 1000:.1f} s"


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(padded(text, columns) for text, columns in zip(texts, widths, strict=True)).rstrip()
