"""One cleanup attempt without a server and without waiting: what it is told, and when, a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner import cleanup, cleanup_attempt
from runner.cleanup_attempt import CleanupAttempt
from runner.config import InstanceConfig
from runner.context import Context
from runner.ending import never
from runner.loaded import LoadedInstance
from runner.place import Place
from runner.receipt import Receipt
from settings import Settings
from state.cleanup_leases import CleanupLease, InFlight
from state.connection import StateError
from state.leases import LeaseLost, Refusal
from state.stop_policy import StopPolicy
from tests.factories import ACCOUNT, SLOT, instance_config
from tests.fake_venue import FakeVenue, OneVenue

NAME, EPOCH, NOW_MS = "mm_01", 2, 1_000
SOFT_LIMIT_S = 10.0


def in_flight(*, lease_until_ms: int = 0, fence_ms: int = 0, **more: Any) -> InFlight:
    told: dict[str, Any] = {"now_ms": NOW_MS, "running_task_id": "", "order_ids": ()} | more
    return InFlight(lease_until_ms=lease_until_ms, fence_ms=fence_ms, **told)


def lease(*, policy: StopPolicy | None = None, **more: Any) -> CleanupLease:
    told: dict[str, Any] = {"order_ids": (), "attempt": 1, "receipt_json": ""} | more
    return CleanupLease(
        instance_id=NAME,
        epoch=EPOCH,
        token="token",
        claimed_at_ms=NOW_MS,
        slot=SLOT,
        account=ACCOUNT,
        config_version="v",
        policy=policy or StopPolicy(),
        **told,
    )


class CleanupsVenue(OneVenue):
    """A venue whose rate budget is that of cleanups, which iterations cannot use up."""

    def of(self, config: InstanceConfig, *, for_cleanup: bool = False) -> FakeVenue:
        """Return the venue to a cleanup alone."""
        assert for_cleanup
        return super().of(config, for_cleanup=for_cleanup)


class Attempt:
    """Stands for everything that a cleanup asks; `run` it and look at what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lease = lease()
        self.claimed: CleanupLease | Refusal | None = None
        #: What renewals tell, one after the other; the last one again and again.
        self.told: list[InFlight | Exception] = [in_flight()]
        self.settled: list[bool] = []
        self.venue = FakeVenue()
        self.kept = "stopped"
        self.finished: dict[str, Any] = {}
        self.released: dict[str, Any] = {}
        self.completed: dict[str, Any] = {}
        self.steps: list[tuple[str, str]] = []
        #: The state server's clock, ms.
        self.now_ms = NOW_MS
        #: How much of its time passes with the step that is named.
        self.passes_ms: dict[str, int] = {}
        self.waits: list[float] = []
        self.pauses: list[float] = []
        self.interrupted: list[str] = []
        self.is_ending: Callable[[], bool] = never
        #: The process's clock; it stands still but for waits.
        self.clock_s = 0.0
        self.instance: LoadedInstance | None = None
        self.is_guess = False
        #: Of a lease that lacked it; None: it did not.
        self.slot_of_place: int | None = None
        #: Why nobody knows where the run is.
        self.nowhere = ""
        self.run_data = SimpleNamespace(intents={}, strays=frozenset())
        self.asked_for: list[tuple[Any, ...]] = []
        clock = SimpleNamespace(monotonic=lambda: self.clock_s)
        monkeypatch.setattr(cleanup, "time", clock)
        monkeypatch.setattr(cleanup_attempt, "time", clock)
        monkeypatch.setattr(cleanup, "find_place", self._place)
        monkeypatch.setattr(CleanupAttempt, "pause", lambda _, seconds: self._pass(self.pauses, seconds))

    def _place(self, _: Context, held: CleanupLease) -> Place:
        if self.nowhere:
            raise StateError(self.nowhere)
        return Place(
            config=self.instance.config if self.instance else instance_config(),
            instance=self.instance,
            problem="",
            is_guess=self.is_guess,
            lease=held if self.slot_of_place is None else replace(held, slot=self.slot_of_place),
        )

    def _pass(self, noted: list[float], seconds: float) -> None:
        noted.append(seconds)
        self.clock_s += seconds

    def _renew(self, _: CleanupLease, *, settled: bool = False) -> InFlight:
        self.settled.append(settled)
        told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(told, Exception):
            raise told
        return told

    def _finish(self, _: CleanupLease, **told: Any) -> str:
        self.finished = told
        return self.kept

    def _release(self, _: CleanupLease, **told: Any) -> bool:
        self.released = told
        return True

    def _complete(self, _: CleanupLease, **told: Any) -> bool:
        self.completed = told
        return True

    def _claim(self, *told: Any, **more: Any) -> CleanupLease | Refusal:
        self.asked_for.append((*told, more))
        return self.claimed or self.lease

    def run(self) -> Receipt | None:
        """Run the attempt."""
        leases = SimpleNamespace(
            claim=self._claim,
            renew=self._renew,
            finish=self._finish,
            release=self._release,
            complete_books=self._complete,
            wait_released=lambda _, timeout_s: self._pass(self.waits, timeout_s),
        )
        context = SimpleNamespace(
            settings=Settings(cleanup_soft_limit_s=SOFT_LIMIT_S),
            cleanup_leases=leases,
            instances=SimpleNamespace(now_ms=lambda: self.now_ms, run_data=lambda *_: self.run_data),
            events=SimpleNamespace(cleanup_step=self._step),
            venues=CleanupsVenue(self.venue),
        )
        return cleanup.run_cleanup(
            cast("Context", context),
            NAME,
            epoch=EPOCH,
            by="test",
            interrupt=self.interrupted.append,
            is_ending=self.is_ending,
        )

    def _step(self, name: str, *, epoch: int, at_ms: int, step: str, detail: str) -> None:
        assert (name, epoch, at_ms) == (NAME, EPOCH, self.now_ms)
        self.steps.append((step, detail))
        self.now_ms += self.passes_ms.get(step, 0)


LOST = LeaseLost("lost")
