"""The witness: everything that was accepted, refused, cancelled or filled, in order, append-only."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

#: Lines kept in memory for `GET /sim/journal`; the file keeps all.
KEPT = 300_000


class Journal:
    """A counter, a bounded memory, and a file that is flushed line by line."""

    def __init__(self, now_ms: Callable[[], int], path: Path | None = None) -> None:
        self._now_ms = now_ms
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        # Text takes a fraction of the memory of what it says.
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._count = 0

    def write(self, event: str, **fields: Any) -> None:
        """Append one entry."""
        self._count += 1
        entry = {"n": self._count, "at_ms": self._now_ms(), "event": event, **fields}
        line = json.dumps(entry, separators=(",", ":"))
        self._lines.append(line)
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()

    def lines_since(self, number: int) -> list[str]:
        """Return the entries behind `number` as JSON, oldest first; the oldest of all may be forgotten."""
        forgotten = self._count - len(self._lines)
        return list(islice(self._lines, max(0, number - forgotten), None))

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the entries behind `number`, oldest first; the oldest of all may be forgotten."""
        return [json.loads(line) for line in self.lines_since(number)]

    def close(self) -> None:
        """Close the file; what is written later is only remembered."""
        if self._file:
            self._file.close()
            self._file = None
