"""A power cut of the embedded server: what a disk that is written to once a second had not got is gone."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from cli.stack.valkey import ValkeyServer

#: What a server with ``appendfsync everysec`` may lose at worst while its disk keeps up.
LOST_S = 1.0
LOOK_EVERY_S = 0.01


class PowerCut:
    """Watches how a server's append-only file grows, to be able to take back its last second."""

    def __init__(self, server: ValkeyServer, directory: Path) -> None:
        self._server = server
        self._directory = directory / "appendonlydir"
        #: When (monotonic, s), which file, and how long it was.
        self._sizes: deque[tuple[float, Path, int]] = deque(maxlen=int(4 * LOST_S / LOOK_EVERY_S))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="power cut", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._ended.set()
        self._thread.join()

    def cut(self, *, down_s: float = 0.0) -> int:
        """Kill the server, take back its last second, start it again; return how many bytes were lost."""
        self._server.process.release()
        self._server.kill()
        path, size = self._as_it_was(time.monotonic() - LOST_S)
        lost = path.stat().st_size - size
        with path.open("r+b") as file:
            file.truncate(size)
        time.sleep(down_s)
        self._server.start()
        self._server.wait_ready()
        self._sizes.clear()
        return lost

    def _as_it_was(self, at_s: float) -> tuple[Path, int]:
        path = self._newest()
        sizes = [size for seen_s, seen, size in tuple(self._sizes) if seen == path and seen_s <= at_s]
        # A file that is younger than that is on disk as it began.
        return path, max(sizes, default=min((s for _, seen, s in tuple(self._sizes) if seen == path)))

    def _newest(self) -> Path:
        return max(self._directory.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            path = self._newest()
            self._sizes.append((time.monotonic(), path, path.stat().st_size))
