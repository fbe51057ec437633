"""Who has not shown a sign of life, and for how long: values in, values out, no clock of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from state.heartbeats import Heartbeat, Pulse, Reading
from state.queues import QUEUE_OF, serves
from state.record import Phase

#: Longer between two looks, and the guard itself was frozen: a look takes less, time-outs included.
LONGEST_GAP_S = 10.0


class Reason(StrEnum):
    """What a silence is, for programs."""

    STATE_SERVER = "state_server"
    RECORD = "record"
    WORKERS = "workers"
    LIFE = "life"


#: The same for people.
SENTENCES: Mapping[Reason, str] = {
    Reason.STATE_SERVER: "state server out of reach for {time} s",
    Reason.RECORD: "record missing or damaged, no sign of life for {time} s",
    Reason.WORKERS: "no worker for queue {queue} for {time} s",
    Reason.LIFE: "no sign of life for {time} s",
}


@dataclass(frozen=True, kw_only=True)
class Silence:
    """An instance that is silent for too long."""

    #: For how long nobody has shown life, seconds.
    lasts_s: float
    reason: Reason
    #: Whose workers are missing; empty where it is not about them.
    queue: str = ""

    @property
    def why(self) -> str:
        """Return the reason in words."""
        return SENTENCES[self.reason].format(time=f"{self.lasts_s:.0f}", queue=self.queue)


@dataclass(kw_only=True)
class _Seen:
    pulse: Pulse | None
    phase: Phase
    account: str
    #: When its pulse was seen to change, or when it was first seen.
    sign_s: float
    #: When it was last seen with nothing to be done for it.
    idle_s: float
    is_missing: bool = False


class Vigil:
    """Compares readings. All moments are seconds of the guard's own monotonic clock.

    Only what was watched counts: nobody is silent before `after_s` of watching. So a guard that starts beside
    the workers waits for them, and neither a clock that jumps nor a guard that froze makes anybody silent.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: dict[str, _Seen] = {}
        #: By queue: the newest heartbeat of its workers (ms), and when it was seen to change.
        self._workers: dict[str, tuple[int, float]] = {}
        self._lost_s: float | None = None
        self._looked_s: float | None = None

    @property
    def lost_since_s(self) -> float | None:
        """Return since when the state server cannot be read, None while it can."""
        return self._lost_s

    def remember(self, names: Collection[str], now_s: float) -> None:
        """Begin to watch instances that are known from before."""
        for name in names:
            self._seen.setdefault(name, _unknown(now_s))

    def observe(self, reading: Reading, names: Collection[str], now_s: float) -> None:
        """Take in a reading, of which `names` are of interest."""
        self._leave_out_what_was_not_watched(now_s)
        self._lost_s = None
        self._note_workers(reading.workers, now_s)
        for name in names:
            beat = reading.beats.get(name)
            if beat is not None:
                self._note(beat, reading.now_ms, now_s)
            elif name in self._seen:
                self._seen[name].is_missing = True

    def lost(self, now_s: float) -> None:
        """Note that the state server could not be read."""
        self._leave_out_what_was_not_watched(now_s)
        if self._lost_s is None:
            self._lost_s = now_s

    def forget_all_but(self, names: Collection[str]) -> None:
        """Watch the others no more."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}

    def silent(self, now_s: float) -> dict[str, Silence]:
        """Return who is silent for `after_s` or longer."""
        found = {name: self._silence(seen, now_s) for name, seen in self._seen.items()}
        return {name: silence for name, silence in found.items() if silence.lasts_s >= self._after_s}

    def _leave_out_what_was_not_watched(self, now_s: float) -> None:
        gap_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        self._looked_s = now_s
        if gap_s <= LONGEST_GAP_S:
            return
        for seen in self._seen.values():
            seen.sign_s += gap_s
            seen.idle_s += gap_s
        self._workers = {queue: (at_ms, s + gap_s) for queue, (at_ms, s) in self._workers.items()}
        if self._lost_s is not None:
            self._lost_s += gap_s

    def _note_workers(self, workers: Mapping[str, int], now_s: float) -> None:
        for queue, newest in workers.items():
            if newest not in (0, self._workers.get(queue, (0, 0.0))[0]):
                self._workers[queue] = (newest, now_s)

    def _note(self, beat: Heartbeat, now_ms: int, now_s: float) -> None:
        seen = self._seen.get(beat.instance_id)
        if seen is None:
            seen = self._seen[beat.instance_id] = _unknown(now_s)
        if seen.pulse is not None and beat.pulse.is_newer_than(seen.pulse):
            seen.sign_s = now_s
        if beat.owes_nothing(now_ms):
            seen.idle_s = now_s
        seen.pulse, seen.account, seen.is_missing = beat.pulse, beat.account, False
        seen.phase = beat.phase if beat.phase in QUEUE_OF else Phase.RUNNING

    def _silence(self, seen: _Seen, now_s: float) -> Silence:
        if self._lost_s is not None and now_s - self._lost_s >= self._after_s:
            lasts_s = now_s - self._lost_s
            return Silence(lasts_s=lasts_s, reason=Reason.STATE_SERVER)
        # Nothing to do for a minute is no silence as long as there are workers to do it then.
        signs = (s for queue, (_, s) in self._workers.items() if serves(queue, seen.phase, seen.account))
        worker_s = max(signs, default=-math.inf)
        lasts_s = now_s - max(seen.sign_s, min(seen.idle_s, worker_s))
        if seen.is_missing:
            return Silence(lasts_s=lasts_s, reason=Reason.RECORD)
        if worker_s < seen.idle_s:
            return Silence(lasts_s=lasts_s, reason=Reason.WORKERS, queue=QUEUE_OF[seen.phase])
        return Silence(lasts_s=lasts_s, reason=Reason.LIFE)


def _unknown(now_s: float) -> _Seen:
    return _Seen(pulse=None, phase=Phase.RUNNING, account="", sign_s=now_s, idle_s=now_s)
