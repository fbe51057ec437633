"""End a worker whose shutdown does not come to its end by itself.

Every task ends soon after it is told (tasks/ending.py), but Celery's main process may wait on for the answer
of a child that is lost on the way: seen once, after SIGTERM while the broker and the state server were away.
Such a worker takes up its place and works on nothing. Killing it is safe: lease and fence are for that.
"""

from __future__ import annotations

import os
import threading
import time

import psutil
import structlog

log = structlog.get_logger(__name__)

#: How often it looks whether the shutdown was asked for, s.
LOOK_EVERY_S = 0.5
#: Exit code of a worker that was ended like this.
EXIT_CODE = 70


class LastResort:
    """A thread that kills its process and the children of that some time after the shutdown was asked for."""

    def __init__(self, *, after_s: float) -> None:
        self._after_s = after_s
        # No event: its lock would be taken by a signal handler, and a second signal waits for it for ever.
        self._asked_at_s: float | None = None
        threading.Thread(target=self._watch, name="last resort", daemon=True).start()

    def shutdown_asked(self) -> None:
        """Count the time from now; from the first call, whatever comes later. For signal handlers, too."""
        if self._asked_at_s is None:
            self._asked_at_s = time.monotonic()

    def _watch(self) -> None:
        pause = threading.Event()
        while self._asked_at_s is None or time.monotonic() - self._asked_at_s < self._after_s:
            pause.wait(min(LOOK_EVERY_S, self._after_s))
        log.error("worker does not end by itself, killed", after_s=self._after_s)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(EXIT_CODE)
