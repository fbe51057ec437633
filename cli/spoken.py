"""Help in the language that people are spoken to, broken into lines by the columns that characters take."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from cli.language import tr, wrapped

#: How click marks a paragraph that keeps its lines.
KEPT = "\b"
#: What click adds to the help of an option: its default, its range.
_EXTRA = re.compile(r"(?s)(.*?)((?:\s+\[[^\]]*\])?)$")


class SpokenFormatter(click.HelpFormatter):
    """Looks every text of a help page up in the catalogue; what is not in it stays English."""

    def write_text(self, text: str) -> None:
        """Write paragraphs; of those that keep their lines each line is looked up."""
        paragraphs = (_paragraph(each, self.width - self.current_indent) for each in text.split("\n\n"))
        super().write_text("\n\n".join(paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options or commands, each with its help."""
        found = list(rows)
        first = min(max((len(term) for term, _ in found), default=0), col_max) + col_spacing
        columns = max(self.width - first - 2, 10)
        super().write_dl([(term, _help(text, columns)) for term, text in found], col_max, col_spacing)


class SpokenContext(click.Context):
    """Of commands whose help is spoken."""

    formatter_class = SpokenFormatter


def _paragraph(text: str, columns: int) -> str:
    if not text.startswith(KEPT):
        return _broken(tr(" ".join(text.split())), columns)
    _, *lines = text.split("\n")
    return "\n".join((KEPT, *map(_indented, lines)))


def _indented(line: str) -> str:
    words = line.strip(" ")
    return line.replace(words, tr(words)) if words else line


def _help(text: str, columns: int) -> str:
    found = _EXTRA.fullmatch(text)
    words, extra = found.groups() if found else (text, "")
    return _broken(tr(" ".join(words.split())) + extra, columns) if words else text


def _broken(text: str, columns: int) -> str:
    """Return a text that click breaks itself where it can: it counts characters, not columns."""
    return text if text.isascii() else "\n".join((KEPT, *wrapped(text, columns)))
