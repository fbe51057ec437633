"""A mutant: one file of the project with one thing changed in it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    #: Path of the file from the root of the project.
    file: str
    #: Line of the change in the file as it is, from 1.
    line: int
    #: What was done, for people.
    what: str
    #: The whole file after the change.
    text: str

    @property
    def name(self) -> str:
        """Return a name that tells mutants apart."""
        return f"{self.file}:{self.line} {self.what}"


def changed_line(before: str, after: str) -> int:
    """Return the first line of `before` that is another one in `after`."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return next((start + 1 for kind, start, *_ in matcher.get_opcodes() if kind != "equal"), 0)
