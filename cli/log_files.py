"""The log files of a stack, read from the beginning and then as they grow, also when they are rotated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Longest rest of a line that is kept until its end comes.
MOST_REST = 1_000_000


def log_files(run_dir: Path) -> tuple[Path, ...]:
    """Return the logs of the stacks in a run directory: `up`'s and those of demos."""
    return tuple(sorted({*run_dir.glob("logs/*.log"), *run_dir.glob("*/logs/*.log")}))


@dataclass(kw_only=True)
class Tail:
    """One file, read on from where it was left."""

    path: Path
    _offset: int = 0
    _inode: int = 0
    #: The beginning of a line whose end is not written yet.
    _rest: bytes = b""

    def lines(self) -> Iterator[str]:
        """Yield what was completed since the last call; a file that began anew is read from its beginning."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._rest = status.st_ino, 0, b""
                file.seek(self._offset)
                for raw in file:
                    self._offset += len(raw)
                    if not raw.endswith(b"\n"):
                        self._rest = (self._rest + raw)[-MOST_REST:]
                        return
                    text, self._rest = self._rest + raw, b""
                    yield text.decode(errors="replace").rstrip("\r\n")
        except FileNotFoundError:
            return  # between two rotations
