"""The chain of one instance's iterations, followed through what it claimed and committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class Doubled(RuntimeError):
    """Raised when two iterations of one instance had the same place in its chain, or ran at a time."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A scheduled iteration that began."""

    at_ms: int
    late_ms: int


@dataclass(kw_only=True)
class Chain:
    """Follows the schedule of one instance as the state server keeps it: a fixed rate, and who is later
    than a whole interval starts a new count.
    """

    instance_id: str
    interval_ms: int
    lease_ms: int
    #: The one that is scheduled, and for when.
    tick: int
    due_ms: int
    claims: list[Claim] = field(default_factory=list)
    #: When the iteration began that has not ended; None: none has.
    open_since_ms: int | None = None
    #: Of the lease that was held when the following began; the trace may show its claim once more.
    open_token: str | None = None
    failed: int = 0
    #: Iterations that were begun and whose worker died: begun again when their lease was over.
    taken_over: int = 0
    _wakes: set[str] = field(default_factory=set)

    def follow(self, trace: Sequence[Mapping[str, str]]) -> None:
        """Take in what was claimed and committed. Raises `Doubled`."""
        for entry in trace:
            if int(entry["tick"]) < self.tick:
                if entry["event"] == "committed" and entry["token"] not in self._wakes and self.claims:
                    raise Doubled(f"{self.instance_id}: ended twice: {entry}")
                continue
            if entry["event"] == "claimed":
                self._claim(entry)
            else:
                self._commit(entry)

    def late_ms(self, until_ms: int) -> list[int]:
        """Return how late each began, and what is overdue at `until_ms`."""
        found = [claim.late_ms for claim in self.claims]
        is_overdue = self.open_since_ms is None and until_ms > self.due_ms
        return [*found, until_ms - self.due_ms] if is_overdue else found

    def _claim(self, entry: Mapping[str, str]) -> None:
        if entry["token"] == self.open_token:
            return
        at_ms = int(entry["at_ms"])
        if self.open_since_ms is not None:
            if at_ms < self.open_since_ms + self.lease_ms:
                raise Doubled(
                    f"{self.instance_id}: {entry} began before one of {self.open_since_ms} had ended"
                )
            self.taken_over += 1
        self.open_since_ms = at_ms
        if entry["kind"] == "tick":
            self.claims.append(Claim(at_ms=at_ms, late_ms=at_ms - self.due_ms))
        else:
            self._wakes.add(entry["token"])

    def _commit(self, entry: Mapping[str, str]) -> None:
        self.open_since_ms = None
        self.failed += int(entry["failed"])
        if entry["token"] in self._wakes:
            return
        self.tick += 1
        self.due_ms += self.interval_ms
        if self.due_ms < int(entry["at_ms"]):
            self.due_ms = int(entry["at_ms"]) + self.interval_ms
