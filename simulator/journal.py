"""The witness: everything that was accepted, refused, cancelled or filled, in order, append-only."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

#: Lines kept in memory for `GET /sim/journal`; the file keeps all.
KEPT = 300_000
EVENTS = frozenset(
    {
        "request",
        "fault",
        "order_accepted",
        "order_refused",
        "order_modified",
        "order_cancelled",
        "order_expired",
        "cancel_refused",
        "fill",
        "funding",
        "stream_fault",
    }
)


class Journal:
    """A counter, a bounded memory, and a file that is flushed line by line."""

    def __init__(self, now_us: Callable[[], int], path: Path | None = None) -> None:
        self._now_us = now_us
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        # Text takes a fraction of the memory of what it says.
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._count = 0

    def write(self, event: str, **fields: Any) -> None:
        """Append one entry. Raises `ValueError` for an event that nobody could ask for."""
        if event not in EVENTS:
            raise ValueError(f"unknown event {event!r}")
        self._count += 1
        at_us = self._now_us()
        entry = {"n": self._count, "at_ms": at_us // 1000, "at_us": at_us, "event": event, **fields}
        line = json.dumps(entry, separators=(",", ":"))
        self._lines.append(line)
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()

    @property
    def last(self) -> int:
        """Return the number of the newest entry, 0 before there is one."""
        return self._count

    @property
    def first_kept(self) -> int:
        """Return the number of the oldest entry that is not forgotten."""
        return self._count - len(self._lines) + 1

    def lines_since(
        self, number: int, *, account: str | None = None, events: Collection[str] = ()
    ) -> list[str]:
        """Return the entries behind `number` as JSON, oldest first; the oldest of all may be forgotten.

        `account` and `events` leave out the entries of other accounts, of none, and of other kinds.
        """
        lines = islice(self._lines, max(0, number - self.first_kept + 1), None)
        # A quote within a text is written with a backslash, so these can only be the fields themselves.
        owner = None if account is None else f'"account":{json.dumps(account)}'
        kinds = [f'"event":{json.dumps(event)}' for event in events]
        return [
            line
            for line in lines
            if (owner is None or owner in line) and (not kinds or any(kind in line for kind in kinds))
        ]

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the entries behind `number`, oldest first; the oldest of all may be forgotten."""
        return [json.loads(line) for line in self.lines_since(number)]

    def close(self) -> None:
        """Close the file; what is written later is only remembered."""
        if self._file:
            self._file.close()
            self._file = None
