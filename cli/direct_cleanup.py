"""Run cleanups in this process, for when no worker does: the same code under the same lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import redis

from cli.language import tr
from cli.session import open_full_context
from settings import Settings

if TYPE_CHECKING:
    from runner.context import Context

#: A little more than a cleanup takes for the fills that come last.
LAST_FILLS_S = 1.5
#: Cleanups at the same time. More would only wait for each other's turn in one Python process.
MOST_AT_ONCE = 8


class DirectCleanups:
    """At most one cleanup per instance, each in a thread of its own."""

    def __init__(self, settings: Settings, *, by: str, debug: bool = False) -> None:
        self._settings = settings
        #: Who runs them, as the cleanups' events tell it.
        self.by = by
        self._debug = debug
        self._threads: dict[str, threading.Thread] = {}
        #: Those that no cleanup uses just now, with their connections.
        self._contexts: list[Context] = []
        #: What kept a cleanup from being run at all, by instance.
        self.problems: dict[str, str] = {}

    def start(self, instance_id: str, epoch: int) -> None:
        """Begin a cleanup, unless one of this process runs. Somebody else's lease makes it end at once."""
        if self.is_running(instance_id):
            return
        # A daemon, so that --timeout ends the command; the lease passes on what it leaves.
        thread = threading.Thread(
            target=self._run, args=(instance_id, epoch), name=f"cleanup {instance_id}", daemon=True
        )
        self._threads[instance_id] = thread
        thread.start()

    @property
    def is_full(self) -> bool:
        """Tell whether as many are run as this process should."""
        return sum(thread.is_alive() for thread in self._threads.values()) >= MOST_AT_ONCE

    def is_running(self, instance_id: str) -> bool:
        """Tell whether this process works on an instance."""
        thread = self._threads.get(instance_id)
        return thread is not None and thread.is_alive()

    def count_last_fills(self, instance_ids: Iterable[str]) -> None:
        """Wait, not for long, until cleanups that have proven their stop have also counted its last fills."""
        deadline_s = time.monotonic() + LAST_FILLS_S
        for thread in (self._threads[name] for name in instance_ids if name in self._threads):
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self, instance_id: str, epoch: int) -> None:
        context = self._own_context()
        from metrics.keeping import keep
        from runner.cleanup import run_cleanup

        keep(self._settings.metrics_dir)

        try:
            run_cleanup(context, instance_id, epoch=epoch, by=self.by)
        except redis.RedisError as error:
            self.problems[instance_id] = tr(
                "the cleanup in this process lost the state server: {error}", error=error
            )
        else:
            self._contexts.append(context)

    def _own_context(self) -> Context:
        """Return a context that no other cleanup uses: they do not share connections to exchanges."""
        try:
            return self._contexts.pop()
        except IndexError:
            return open_full_context(self._settings, debug=self._debug)
