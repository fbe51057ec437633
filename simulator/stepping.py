"""An outside market that moves when it is told to, for those who drive its time themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

#: The most events of one request; no other request is served while they are played.
MOST_EVENTS = 10_000


class Stepper:
    """Plays the events of a tape, or of a synthetic flow, one after the other."""

    def __init__(self, events: Iterator[Callable[[], None]]) -> None:
        self._events = events
        self._next = next(events, None)

    @property
    def ended(self) -> bool:
        """Tell whether there is nothing left to play."""
        return self._next is None

    def play(self, count: int) -> int:
        """Play the next `count` events, or as many as there are; return how many. Raises `TapeError`."""
        for played in range(count):
            event, self._next = self._next, None
            if event is None:
                return played
            event()
            self._next = next(self._events, None)
        return count
