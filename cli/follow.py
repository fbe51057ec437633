"""Follow stops along the event stream until all are clean or the time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import redis

from cli.direct_cleanup import DirectCleanups
from cli.language import tr
from cli.progress_display import Display
from cli.session import Session
from runner.stop_progress import BY_WORKER, Ending, StopProgress
from state.events import Event
from state.record import Phase, Record, RecordUnreadable

#: Longest wait for an event; time-outs and the live table are looked at this often.
BLOCK_MS = 200
#: How often the records are read besides: a server that crashed may have lost events.
LOOK_AT_RECORDS_S = 1.0
#: A cleanup that nobody has claimed for this long is run in this process.
DIRECT_AFTER_S = 2.0
#: After an unclean attempt its repetition waits by itself, up to 5 s; nobody is missing before that.
DIRECT_AFTER_UNCLEAN_S = 7.0
#: Pause between two tries while the state server does not answer.
RECONNECT_S = 0.2


class Follower:
    """Watches stops that were requested; the position in the stream was taken before the request."""

    def __init__(
        self,
        session: Session,
        stops: Sequence[StopProgress],
        *,
        position: str,
        display: Display,
        direct: DirectCleanups | None,
        request_again: Callable[[StopProgress], None],
        direct_after_s: float = DIRECT_AFTER_S,
    ) -> None:
        """`direct` None forbids cleanups in this process; `request_again` repeats a request that got lost."""
        self._session = session
        self._stops = {stop.instance_id: stop for stop in stops}
        self._position = position
        self._display = display
        self._direct = direct
        self._direct_after_s = direct_after_s
        self._request_again = request_again
        now_s = time.monotonic()
        #: When each stop last moved.
        self._moved_at_s = dict.fromkeys(self._stops, now_s)
        #: When a worker last took a cleanup, whichever: those behind it in the queue wait their turn.
        self._queue_moved_at_s = now_s
        self._records_at_s = now_s
        self._ran_here: set[str] = set()
        self._told: set[str] = set()

    def run(self, timeout_s: float) -> None:
        """Return when all stops are over; those that are not by then end as not clean.

        Raises `redis.ConnectionError` or `redis.TimeoutError` when the state server is away at the end.
        """
        deadline_s = time.monotonic() + timeout_s
        lost: redis.RedisError | None = None
        while self._pending() and time.monotonic() < deadline_s:
            try:
                self._look(deadline_s)
                lost = None
            except (redis.ConnectionError, redis.TimeoutError) as error:
                lost = error
                self._tell_once(tr("the state server does not answer; trying on"))
                threading.Event().wait(RECONNECT_S)
        if lost is not None:
            raise lost
        for stop in self._pending():
            stop.ending = Ending.NOT_CLEAN

    def _look(self, deadline_s: float) -> None:
        left_ms = max(1, int((deadline_s - time.monotonic()) * 1000))
        for event in self._session.events.read(self._position, block_ms=min(BLOCK_MS, left_ms)):
            self._position = event.stream_id
            self._take(event)
        if time.monotonic() - self._records_at_s >= LOOK_AT_RECORDS_S:
            for stop in self._pending():
                try:
                    self._compare(stop, self._session.instances.read(stop.instance_id))
                except RecordUnreadable as error:
                    self._tell_once(str(error))
            self._records_at_s = time.monotonic()
        for stop in self._pending():
            self._clean_up_directly(stop)

    def _pending(self) -> list[StopProgress]:
        return [stop for stop in self._stops.values() if not stop.is_over]

    def _take(self, event: Event) -> None:
        # Another command's cleanups are no sign that anybody reads the queue.
        if event.event == "cleanup_claimed" and event.fields.get("by", "").startswith(BY_WORKER):
            self._queue_moved_at_s = time.monotonic()
        stop = self._stops.get(event.instance_id)
        phase = stop.take(event) if stop else None
        if stop and phase:
            self._moved_at_s[stop.instance_id] = time.monotonic()
            self._display.seen(stop, phase)

    def _compare(self, stop: StopProgress, record: Record | None) -> None:
        """Correct what the stream did not tell, as after a crash of the state server."""
        if record is None or record.epoch < stop.epoch:
            self._tell_once(f"{stop.instance_id}: {tr('the state server has lost its record')}")
        elif record.epoch > stop.epoch:
            stop.ending = Ending.SUPERSEDED
        elif record.phase is Phase.STOPPED:
            stop.stopped(outcome_json=record.outcome, at_ms=record.stopped_at_ms)
        elif record.phase is Phase.RUNNING:
            text = tr("the state server has lost the request; it is repeated")
            self._display.say(f"{stop.instance_id}: {text}")
            self._request_again(stop)
        else:
            stop.outcome_json = record.outcome or stop.outcome_json

    def _clean_up_directly(self, stop: StopProgress) -> None:
        name = stop.instance_id
        if self._direct is not None and name in self._direct.problems:
            self._display.say(f"{name}: {self._direct.problems.pop(name)}")
        patience_s = self._patience_s(stop)
        moved_at_s = self._moved_at_s[name]
        if not stop.is_claimed:
            moved_at_s = max(moved_at_s, self._queue_moved_at_s)
        if time.monotonic() - moved_at_s < patience_s:
            return
        if self._direct is not None and self._direct.is_full:
            return  # its turn comes
        self._moved_at_s[name] = time.monotonic()
        if self._direct is None:
            text = tr(
                "nobody takes the cleanup, and --no-direct forbids it here; "
                "start a worker: celery -A tasks worker"
            )
            self._tell_once(f"{name}: {text}")
        elif not self._direct.is_running(name):
            if not stop.is_claimed:  # else its holder may well live; whoever gets the lease is shown
                text = (
                    tr(
                        "nobody has taken the cleanup for {time} s; running it in this process",
                        time=f"{patience_s:g}",
                    )
                    if patience_s
                    else tr("running it in this process")
                )
                self._tell_once(f"{name}: {text}")
            self._ran_here.add(name)
            self._direct.start(name, stop.epoch)

    def _patience_s(self, stop: StopProgress) -> float:
        if stop.is_claimed:  # whoever holds the lease works, or has died and loses it
            return self._session.settings.cleanup_lease_ms / 1000 + self._direct_after_s
        if stop.instance_id in self._ran_here:
            return DIRECT_AFTER_S
        return DIRECT_AFTER_UNCLEAN_S if stop.unclean_attempts else self._direct_after_s

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._display.say(text)
