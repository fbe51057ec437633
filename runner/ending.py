"""How work ends early when its worker shuts down: at a safe point, and somebody else goes on at once."""

from __future__ import annotations

from collections.abc import Callable

#: Tells whether what runs should come to its end. Asked where nothing is open: before a placement is
#: authorised, between the rounds of a cleanup.
IsEnding = Callable[[], bool]


class CutShort(Exception):
    """Raised at a safe point of work that should come to its end."""


def never() -> bool:
    """Return that nobody asks for an end: work outside a worker, which nothing takes over from."""
    return False
