"""The thread that sweeps: it outlives every failure and tells that its worker lives."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import redis
from kombu.exceptions import OperationalError

from settings import Settings
from tasks import sweep
from tests.support import wait_until


class World:
    """A context in memory, and a sweep whose failures a test chooses."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.failures: list[Exception] = []
        self.sweeps = 0
        #: Instances for which a sweep is asked, and those that were swept by themselves.
        self.calls: list[str] = []
        self.swept: list[str] = []
        self.beats: list[tuple[str, tuple[str, ...], int]] = []
        self.forgotten: list[str] = []
        self.pause = threading.Event()
        self.is_its_turn = True
        self.context = SimpleNamespace(
            settings=Settings(),
            client=None,  # asked only where something was refused
            instances=SimpleNamespace(now_ms=lambda: self.now_ms),
            events=SimpleNamespace(
                heartbeat=lambda *beat: self.beats.append(beat), forget_worker=self.forgotten.append
            ),
            due=SimpleNamespace(
                wait=self.wait,
                look_again=self.look_again,
                takes_turn=lambda **_: self.is_its_turn,
                next_ms=lambda *, after_ms: self.next_ms,
            ),
        )
        self.next_ms: int | None = None
        self.takes_s = 0.0
        #: How long each sweep waited for the next at most.
        self.pauses_s: list[float] = []
        #: For each comparison of the sweep's list with what there is: whether it was about everything.
        self.looked_again: list[bool] = []

    def look_again(self, *, now_ms: int, at_once: bool) -> int:
        """Note that the list was compared."""
        self.looked_again.append(at_once)
        return 0

    def wait(self, *, timeout_s: float) -> str | None:
        """Return the next call."""
        self.pauses_s.append(timeout_s)
        self.pause.wait(0.001)
        return self.calls.pop() if self.calls else None

    def sweep_one(self, _: object, __: object, instance_id: str) -> bool:
        """Note who was swept by itself."""
        self.swept.append(instance_id)
        return True

    def sweep(self, *_: object) -> int:
        """Fail, or count."""
        if self.failures:
            raise self.failures.pop()
        self.sweeps += 1
        self.pause.wait(self.takes_s)
        return 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world without Redis and without a broker."""
    world = World()
    monkeypatch.setattr(sweep, "open_context", lambda _: world.context)
    monkeypatch.setattr(sweep, "sweep", world.sweep)
    monkeypatch.setattr(sweep, "sweep_one", world.sweep_one)
    monkeypatch.setattr(sweep, "RETRY_S", 0.001)
    monkeypatch.setattr(sweep, "tell_of_server", lambda *_: None)
    return world


@pytest.mark.parametrize(
    "failure",
    [
        redis.ConnectionError("down"),
        OperationalError("broker down"),
        OSError("reset"),
        ValueError("a bug"),
        AttributeError("another, in a library"),
    ],
)
def test_no_failure_ends_the_sweep(world: World, failure: Exception) -> None:
    world.failures = [failure] * 3
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: world.sweeps >= 2)
    sweeper.stop()
    assert world.failures == []


@pytest.mark.parametrize("step", ["heartbeat", "look_again"])
def test_a_damaged_list_keeps_the_sweep_from_nothing(world: World, step: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")

    world.now_ms = 10_000
    owner = world.context.events if step == "heartbeat" else world.context.due
    setattr(owner, step, refuse)
    world.calls = ["a"]
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: world.sweeps >= 3)
    sweeper.stop()
    assert world.swept == ["a"]


def test_a_worker_is_on_the_list_as_long_as_it_sweeps(world: World) -> None:
    world.now_ms = 10_000
    sweeper = sweep.Sweeper("worker", ("iterate", "cleanup"))
    sweeper.start()
    wait_until(lambda: world.sweeps >= 5)
    assert world.beats == [("worker", ("iterate", "cleanup"), 10_000)]
    world.now_ms += sweep.HEARTBEAT_MS
    wait_until(lambda: len(world.beats) == 2)
    sweeper.stop()
    assert world.forgotten == ["worker"]


def test_who_asks_for_a_sweep_is_looked_at_at_once(world: World) -> None:
    world.calls = ["a"]
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: world.sweeps >= 4)
    sweeper.stop()
    assert world.swept == ["a"]


@pytest.mark.parametrize(
    ("in_ms", "pause_s"), [(None, 0.5), (10_000, 0.5), (501, 0.5), (499, 0.499), (100, 0.1), (1, 0.1)]
)
def test_the_next_sweep_comes_when_somebody_becomes_due(
    world: World, in_ms: int | None, pause_s: float
) -> None:
    """What a killed worker held becomes due piece by piece: each would wait for half a pause."""
    world.now_ms = 7_000
    world.next_ms = None if in_ms is None else world.now_ms + in_ms
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: len(world.pauses_s) > 5)
    sweeper.stop()
    # A sweep that a busy machine stretches is followed by a longer pause.
    assert min(world.pauses_s) == pause_s


def test_in_a_backlog_sweeps_take_a_small_part_of_the_time(world: World) -> None:
    world.next_ms = world.now_ms + 1
    world.takes_s = 0.04
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: len(world.pauses_s) > 1)
    sweeper.stop()
    assert min(world.pauses_s) >= 4 * world.takes_s


def test_an_interval_that_is_shorter_than_the_shortest_pause_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_SWEEP_INTERVAL_S", "0.05")
    world.next_ms = world.now_ms + 1
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: len(world.pauses_s) > 1)
    sweeper.stop()
    assert set(world.pauses_s) == {0.05}


def test_everything_is_looked_at_again_at_the_start_and_after_a_failure(world: World) -> None:
    """The state server may have been restarted: what is waited for may be gone with it."""
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: world.sweeps > 2)
    assert world.looked_again == [True]
    world.failures = [redis.ConnectionError("down")]
    wait_until(lambda: not world.failures and len(world.looked_again) > 1)
    sweeper.stop()
    assert world.looked_again == [True, True]


def test_the_list_is_compared_from_time_to_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LOOK_AGAIN_S", 0.005)
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: len(world.looked_again) > 2)
    sweeper.stop()
    assert world.looked_again[:3] == [True, False, False]


def test_another_worker_compares_the_list_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LOOK_AGAIN_S", 0.0)
    world.is_its_turn = False
    sweeper = sweep.Sweeper("worker", ("iterate",))
    sweeper.start()
    wait_until(lambda: world.sweeps > 5)
    world.failures = [redis.ConnectionError("down")]
    wait_until(lambda: not world.failures and world.sweeps > 10)
    sweeper.stop()
    assert world.looked_again == [True, True], "at the start and after a failure each one does"
