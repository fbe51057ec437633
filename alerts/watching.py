"""What is wrong at this moment, as the signs of life show it: things that last until they are over."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import redis

from alerts.kinds import Kind
from alerts.phrases import Words, words
from state.feeds import FeedProcess, Feeds
from state.heartbeats import Heartbeat, Heartbeats, Pulse, Reading
from state.queues import QUEUE_OF, serves
from state.record import Phase
from state.scripts import Scripts

#: So many iterations in a row must have failed: one may, the next is tried at once.
ERRORS_THAT_COUNT = 3
#: How errors begin that say that the exchange cannot be asked.
NO_ANSWER = ("Unavailable:", "StreamClosed:", "OutcomeUnknown:")
#: A queue whose workers say nothing for so long has none.
WORKERS_SILENT_MS = 10_000
#: What should be worked on is often late by less.
SETTLED_S = 3.0
#: How a feed names an account that it listens to.
STREAMING = "streaming"
CONNECTING = frozenset({"connecting", "reconnecting"})
#: Subjects that are no instances.
ALL_FEEDS = "all feeds"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Something that is wrong now."""

    kind: Kind
    subject: str
    text: Words | str
    #: How a title names the subject; None: by its own name.
    shown: Words | None = None
    instance: str = ""
    epoch: int = 0
    #: State server's time since when, ms; 0: since it is seen.
    since_ms: int = 0
    #: True: too young to count, but no sign that what was told before is over.
    is_unsure: bool = False


@dataclass(frozen=True, kw_only=True)
class Look:
    """Everything that is wrong at one moment."""

    #: State server's time, ms.
    now_ms: int
    standings: tuple[Standing, ...]
    #: Whether a feed was ever seen: without one, there is none to miss.
    had_feed: bool = False


class Watch:
    """Looks again and again. Whether somebody works is judged on this machine's own clock."""

    def __init__(self, client: redis.Redis) -> None:
        self._heartbeats = Heartbeats(client)
        self._feeds = Feeds(client, Scripts(client))
        #: By instance that should be worked on: its pulse, and since when it is the same, s.
        self._idle: dict[str, tuple[Pulse, float]] = {}

    def look(self, *, had_feed: bool) -> Look:
        """Return what is wrong now; `had_feed` as the last look said. Raises `redis.RedisError`."""
        reading = self._heartbeats.read()
        feeds = self._feeds.processes(now_ms=reading.now_ms)
        had_feed = had_feed or bool(feeds)
        busy = [beat for beat in reading.beats.values() if beat.phase is not Phase.STOPPED]
        found = [
            *_unclean(busy),
            *_failing(busy),
            *_exchanges_down(busy),
            *self._silent(reading, time.monotonic()),
            *_queues_down(reading, busy),
            *(_feeds_down(feeds, busy) if had_feed else ()),
        ]
        return Look(now_ms=reading.now_ms, standings=tuple(found), had_feed=had_feed)

    def _silent(self, reading: Reading, now_s: float) -> Iterator[Standing]:
        idle = {}
        for name, beat in reading.beats.items():
            # What failed was told of; its cleanups are tried again minutes apart.
            if beat.phase is Phase.FAILED or beat.owes_nothing(reading.now_ms):
                continue
            pulse, since_s = self._idle.get(name, (beat.pulse, now_s))
            since_s = now_s if beat.pulse.is_newer_than(pulse) else since_s
            idle[name] = (beat.pulse, since_s)
            idle_s = now_s - since_s
            yield Standing(
                kind=Kind.NO_HEARTBEAT,
                subject=name,
                instance=name,
                epoch=beat.pulse.epoch,
                text=words("silent", time=f"{idle_s:.0f}", phase=words(f"phase.{beat.phase}")),
                since_ms=reading.now_ms - int(idle_s * 1000),
                is_unsure=idle_s < SETTLED_S,
            )
        self._idle = idle


def _about(beat: Heartbeat, kind: Kind, text: Words) -> Standing:
    name = beat.instance_id
    return Standing(kind=kind, subject=name, instance=name, epoch=beat.pulse.epoch, text=text)


def _unclean(beats: Iterable[Heartbeat]) -> Iterator[Standing]:
    for beat in beats:
        if beat.phase is Phase.FAILED:
            yield _about(beat, Kind.STOP_NOT_CLEAN, words("unclean", name=beat.instance_id))


def _failing(beats: Iterable[Heartbeat]) -> Iterator[Standing]:
    for beat in beats:
        if beat.phase is Phase.RUNNING and beat.errors >= ERRORS_THAT_COUNT:
            text = words("failing", count=beat.errors, error=beat.last_error)
            yield _about(beat, Kind.ITERATIONS_FAILING, text)


def _exchanges_down(beats: Collection[Heartbeat]) -> Iterator[Standing]:
    running = [beat for beat in beats if beat.phase is Phase.RUNNING]
    for account in sorted({beat.account for beat in running}):
        cut_off = [
            beat
            for beat in running
            if beat.account == account and beat.errors and beat.last_error.startswith(NO_ANSWER)
        ]
        if cut_off:
            names = ", ".join(sorted(beat.instance_id for beat in cut_off)[:5])
            text = words("cut_off", count=len(cut_off), names=names, error=cut_off[0].last_error)
            yield Standing(kind=Kind.EXCHANGE_DOWN, subject=account, text=text)


def _queues_down(reading: Reading, beats: Collection[Heartbeat]) -> Iterator[Standing]:
    unserved: dict[str, list[int]] = {}
    for beat in beats:
        signs = (at_ms for queue, at_ms in reading.workers.items() if serves(queue, beat.phase, beat.account))
        seen_at_ms = max(signs, default=0)
        if reading.now_ms - seen_at_ms > WORKERS_SILENT_MS:
            unserved.setdefault(QUEUE_OF[beat.phase], []).append(seen_at_ms)
    for queue, seen in sorted(unserved.items()):
        yield Standing(
            kind=Kind.NO_HEARTBEAT,
            subject=f"queue {queue}",
            shown=words("subject.queue", queue=queue),
            text=words("unserved", queue=queue, count=len(seen)),
            since_ms=max(seen),
        )


def _feeds_down(feeds: Collection[FeedProcess], beats: Collection[Heartbeat]) -> Iterator[Standing]:
    running = {beat.account for beat in beats if beat.phase is Phase.RUNNING and beat.account}
    if not feeds:
        if running:
            shown = words("subject.all_feeds")
            yield Standing(kind=Kind.FEED_DOWN, subject=ALL_FEEDS, shown=shown, text=words("no_feed"))
        return
    for account in sorted(running):
        standings = [feed.accounts[account] for feed in feeds if account in feed.accounts]
        if STREAMING not in standings:
            how = _how(standings[0]) if standings else words("stream.nobody")
            yield Standing(kind=Kind.FEED_DOWN, subject=account, text=words("stream_lost", how=how))


def _how(standing: str) -> Words | str:
    """Return how a feed stands with an account; what is none of ours is its own words."""
    return words(f"stream.{standing}") if standing in CONNECTING else standing
