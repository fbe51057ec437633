"""What is wrong with an instance's file: every problem at once, with its place and what would be allowed.

`ConfigError` holds `Problem`s. Values are shown as they stand in the file, never after the expansion of
variables, and never where a secret belongs.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from wording import said

#: Characters of a value that a message shows.
_SHOWN_LENGTH = 80

_URL_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^@]*@")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to correct."""

    #: JSON path, for example ``$.strategy_config.spread``; ``line 3, column 7`` in a file that is no JSON.
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ConfigError(Exception):
    """Raised when an instance's configuration cannot be used; lists everything that is wrong with it."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        #: The file, or what else was read.
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        title = f"{source}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([title, *(f"  {problem}" for problem in self.problems)]))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "x"?``, or the list of what is known when nothing is near."""
    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), by_lower, n=1)
    if near:
        return said('; did you mean "{name}"?', name=by_lower[near[0]])
    return said("; known: {names}", names=", ".join(names)) if names else ""


def shown(value: object) -> str:
    """Return a value as it stands in the file, shortened, without a password in a URL."""
    is_number = isinstance(value, Decimal)
    text = str(value) if is_number else json.dumps(value, ensure_ascii=False, default=str)
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"
