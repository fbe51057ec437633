"""The witness: everything that was accepted, refused, cancelled or filled, in order, append-only."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

#: Lines kept in memory for `GET /sim/journal`.
KEPT = 500_000


class Journal:
    """A counter, a bounded memory, and a file that is flushed line by line."""

    def __init__(self, now_ms: Callable[[], int], path: Path | None = None) -> None:
        self._now_ms = now_ms
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0

    def write(self, event: str, **fields: Any) -> None:
        """Append one entry."""
        self._count += 1
        entry = {"n": self._count, "at_ms": self._now_ms(), "event": event, **fields}
        self._entries.append(entry)
        if self._file:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the entries behind `number`, oldest first; the oldest may be forgotten."""
        forgotten = self._count - len(self._entries)
        return list(islice(self._entries, max(0, number - forgotten), None))

    def close(self) -> None:
        """Close the file; what is written later is only remembered."""
        if self._file:
            self._file.close()
            self._file = None
