"""Keep this process's numbers in a file, from a thread of its own: whatever a disk does, trading goes on."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
from pathlib import Path

import structlog

from metrics.directory import claim, tidy_up, write
from metrics.numbers import NUMBERS

log = structlog.get_logger(__name__)

#: A process that is killed takes this much of its counts with it, at most.
EVERY_S = 1.0
#: Between two tries to write where that failed.
AGAIN_S = 10.0


class Keeper:
    """Writes the numbers whenever they have changed."""

    def __init__(self, directory: Path) -> None:
        """Nothing is written yet."""
        self._directory = directory
        self._path = directory / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._ended = threading.Event()
        self._saved_changes = 0
        self._is_failing = False
        self._is_tidy = False
        self._lock: int | None = None
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Write for the last time."""
        self._ended.set()
        self.save()

    def save(self) -> None:
        """Write what has changed. A failure is told once, until it works again."""
        with self._writing:
            changes = NUMBERS.changes
            if changes == self._saved_changes:
                return
            try:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not self._is_tidy:
                    # Where nobody reads them, ended processes must not fill the disk.
                    self._is_tidy = True
                    tidy_up(self._directory)
                if self._lock is None:
                    self._lock = claim(self._path)
                write(self._path, NUMBERS.copy())
            except OSError as error:
                if not self._is_failing:
                    log.warning(
                        "metrics cannot be written, trading goes on",
                        directory=str(self._directory),
                        error=str(error),
                    )
                self._is_failing = True
                return
            if self._is_failing:
                log.info("metrics are written again", directory=str(self._directory))
            self._is_failing = False
            self._saved_changes = changes

    def abandon(self) -> None:
        """Give up what was inherited by a fork, the lock among it."""
        if self._lock is not None:
            os.close(self._lock)

    def _run(self) -> None:
        while not self._ended.wait(AGAIN_S if self._is_failing else EVERY_S):
            self.save()


_keepers: list[Keeper] = []


def _forget_keepers() -> None:
    """In a child that was forked: the thread and the file are its parent's."""
    while _keepers:
        _keepers.pop().abandon()


os.register_at_fork(after_in_child=_forget_keepers)


def keep(directory: Path) -> None:
    """Keep the numbers of this process in `directory` from now on; call it after a fork. Raises nothing."""
    if _keepers:
        return
    keeper = Keeper(directory)
    _keepers.append(keeper)
    atexit.register(keep_last)
    keeper.start()


def keep_last() -> None:
    """Write for the last time, if anything is kept: this process ends."""
    while _keepers:
        _keepers.pop().end()
