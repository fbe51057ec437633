"""When iterations run: hops, back-off, ids, and what a sweep publishes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import fakeredis
import pytest

from runner.context import Context
from runner.publisher import Iteration
from runner.schedule import (
    HANDFUL,
    LONGEST_BACKOFF_MS,
    MOST_HANDFULS,
    error_delay_ms,
    following,
    hop_s,
    sweep,
    task_id,
)
from settings import Settings
from state import keys
from state.due import UNSENT_RETRY_MS, Due, IterateAgain
from state.instances import Instances
from state.leases import Committed, Lease
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.store_clock import StoreClock


class Published:
    """A publisher that writes down what it is asked for."""

    def __init__(self) -> None:
        self.iterations: list[Iteration] = []
        self.cleanups: list[tuple[str, int]] = []
        self.revoked: list[str] = []
        #: True: the broker is away.
        self.is_away = False

    def publish_iteration(self, iteration: Iteration) -> None:
        """Note an iteration."""
        if self.is_away:
            raise ConnectionError("no broker")
        self.iterations.append(iteration)

    def publish_cleanup(self, instance_id: str, epoch: int) -> None:
        """Note a cleanup."""
        self.cleanups.append((instance_id, epoch))

    def revoke(self, task_id: str) -> None:
        """Note a revoked message."""
        self.revoked.append(task_id)

    def interrupt(self, task_id: str) -> None:
        """Refuse: a sweep interrupts nobody."""
        raise AssertionError("a sweep interrupts nobody")


class World:
    """Instances on a server in memory."""

    def __init__(self) -> None:
        self.client = fakeredis.FakeRedis(decode_responses=True)
        self.clock = StoreClock(self.client)
        self.instances = Instances(self.client, self.clock.scripts)
        due = Due(self.client, self.clock.scripts, grace_ms=100)
        instances = SimpleNamespace(
            now_ms=lambda: self.clock.now_ms,
            fail=self.instances.fail,
            config_json=self.instances.config_json,
        )
        self.context = cast(
            Context, SimpleNamespace(client=self.client, due=due, instances=instances, settings=Settings())
        )
        self.published = Published()

    def start(self, name: str) -> None:
        """Begin a run."""
        self.instances.start(name, config_version="v", config_json="{}", slot=1, account="a", by="test")

    def sweep(self) -> int:
        """Sweep once."""
        return sweep(self.context, self.published)


@pytest.fixture
def world() -> World:
    """A world without instances."""
    return World()


@pytest.mark.parametrize(
    ("remaining_s", "hop"), [(-1, 0), (0, 0), (0.2, 0.2), (60, 60), (60.1, 60), (86_400, 60)]
)
def test_a_countdown_is_at_most_a_third_of_the_visibility_timeout(remaining_s: float, hop: float) -> None:
    assert hop_s(remaining_s, 180) == hop


def test_the_wait_after_errors_doubles_from_one_second_up_to_a_limit() -> None:
    waits = [error_delay_ms(errors) for errors in range(40)]
    assert waits[:4] == [0, 1_000, 2_000, 4_000]
    assert waits == sorted(waits)
    assert max(waits) == LONGEST_BACKOFF_MS


@pytest.mark.parametrize(
    ("committed", "messages"),
    [
        (Committed(running=False), []),
        # The scheduled message that is under way stands.
        (Committed(running=True, epoch=2, tick=3), []),
        (Committed(running=True, epoch=2, tick=4, countdown_ms=1_500, task_id="next"), [(4, 1.5)]),
        (Committed(running=True, epoch=2, tick=4, countdown_ms=900_000, task_id="next"), [(4, 60)]),
        (Committed(running=True, epoch=2, tick=3, wake_up=True), [(None, 0)]),
        (
            Committed(running=True, epoch=2, tick=4, countdown_ms=200, task_id="next", wake_up=True),
            [(4, 0.2), (None, 0)],
        ),
    ],
)
def test_a_commit_is_followed_by_what_it_asks_for(
    committed: Committed, messages: list[tuple[int | None, float]]
) -> None:
    lease = Lease(
        instance_id="mm_01",
        epoch=2,
        tick=3,
        seq=7,
        token="token",
        claimed_at_ms=1_000,
        due_at_ms=1_000,
        started_at_ms=0,
        errors=0,
        slot=1,
        account="acc",
        config_version="v",
        state_json="",
    )
    found = following(lease, committed, visibility_timeout_s=180)
    assert [(each.tick, each.countdown_s) for each in found] == messages
    assert all((each.instance_id, each.account, each.epoch) == ("mm_01", "acc", 2) for each in found)
    # A stop revokes the scheduled one by the id that the commit announced.
    assert [each.task_id for each in found if each.tick] == ["next"] * any(tick for tick, _ in messages)


@pytest.mark.parametrize(("tick", "begins"), [(5, "mm_01.3.5."), (None, "mm_01.3.wake.")])
def test_a_task_id_is_readable_and_never_used_twice(tick: int | None, begins: str) -> None:
    ids = {task_id("mm_01", 3, tick) for _ in range(200)}
    assert len(ids) == 200
    assert all(each.startswith(begins) for each in ids)


def test_a_sweep_publishes_what_is_due_and_nothing_twice(world: World) -> None:
    world.start("a")
    world.start("b")
    assert world.sweep() == 2
    # Of those that are due a sweep takes each at random.
    assert {(each.instance_id, each.epoch, each.tick) for each in world.published.iterations} == {
        ("a", 1, 0),
        ("b", 1, 0),
    }
    assert world.sweep() == 0


def test_a_broker_that_was_away_for_long_makes_nobody_wait_when_it_is_back(world: World) -> None:
    world.start("a")
    world.published.is_away = True
    for _ in range(20):
        with pytest.raises(ConnectionError):
            world.sweep()
        world.clock.advance(UNSENT_RETRY_MS)
    world.published.is_away = False
    assert world.sweep() == 1


def test_a_stop_is_published_and_the_pending_message_revoked(world: World) -> None:
    world.start("a")
    world.sweep()
    (pending,) = world.published.iterations
    world.instances.request_stop("a", by="test", reason="", policy=StopPolicy())
    world.sweep()
    assert world.published.cleanups == [("a", 1)]
    assert world.published.revoked == [pending.task_id]


def test_a_stop_without_a_pending_message_revokes_nothing(world: World) -> None:
    world.start("a")
    world.instances.request_stop("a", by="test", reason="", policy=StopPolicy())
    world.sweep()
    assert (world.published.cleanups, world.published.revoked) == ([("a", 1)], [])


def test_an_instance_whose_record_is_broken_does_not_stop_the_others(world: World) -> None:
    world.start("broken")
    world.client.hdel(keys.record("broken"), "due")
    world.clock.advance(1)
    world.start("b")
    assert world.sweep() == 3
    assert [each.instance_id for each in world.published.iterations] == ["b"]
    assert world.published.cleanups == [("broken", 1)]
    broken = world.instances.read("broken")
    assert broken is not None
    assert broken.phase is Phase.FAILED


def test_an_instance_that_another_sweeper_got_first_is_left_to_it(world: World) -> None:
    world.start("a")
    due = world.context.due
    due.ids = lambda **_: ("a", "a")  # type: ignore[method-assign]
    assert world.sweep() == 1
    assert len(world.published.iterations) == 1


class ManyDue:
    """A list of who is due, from which sweeps take."""

    def __init__(self, count: int) -> None:
        self.names = [f"mm_{number}" for number in range(count)]
        self.taken: set[str] = set()
        self.asked: list[str] = []

        #: For whom a sweep is asked.
        self.calls: list[str] = []

    def take_calls(self) -> tuple[str, ...]:
        """Return all calls; they are answered by that."""
        calls, self.calls = tuple(self.calls), []
        return calls

    def ids(self, *, now_ms: int) -> tuple[str, ...]:
        """Return whom nobody has taken."""
        return tuple(name for name in self.names if name not in self.taken)

    def sweep(self, instance_id: str, *, task_id: str) -> IterateAgain | None:
        """Take one, unless it is taken."""
        self.asked.append(instance_id)
        if instance_id in self.taken:
            return None
        self.taken.add(instance_id)
        return IterateAgain(instance_id=instance_id, account="a", epoch=1, tick=0, task_id=task_id)

    def context(self) -> Context:
        """Return what a sweep needs of one."""
        instances = SimpleNamespace(now_ms=lambda: 0)
        return cast("Context", SimpleNamespace(due=self, instances=instances))


def test_a_sweep_reaches_all_that_are_due_and_asks_once_for_each() -> None:
    due, published = ManyDue(2 * HANDFUL + 50), Published()
    assert sweep(due.context(), published) == len(due.names)
    assert sorted(due.asked) == sorted(due.names)
    assert {each.instance_id for each in published.iterations} == set(due.names)


def test_who_asks_for_a_sweep_is_looked_at_first_also_while_one_goes_on() -> None:
    """Else a stop would wait until all are swept that are due for longer."""
    due = ManyDue(3 * HANDFUL)
    due.calls = ["a", "b"]

    def call_meanwhile(instance_id: str, *, task_id: str) -> IterateAgain | None:
        if len(due.asked) == 10:
            due.calls = ["c"]
        return ManyDue.sweep(due, instance_id, task_id=task_id)

    due.sweep = call_meanwhile  # type: ignore[method-assign]
    sweep(due.context(), Published())
    assert due.asked[:2] == ["a", "b"]
    assert due.asked.index("c") == HANDFUL + 2


def test_a_sweep_comes_to_an_end_however_many_are_due() -> None:
    """Signs of life wait for it."""
    due = ManyDue(HANDFUL * MOST_HANDFULS + 1)
    assert sweep(due.context(), Published()) == HANDFUL * MOST_HANDFULS


def test_sweeps_at_the_same_time_hardly_ask_for_the_same() -> None:
    due, first_look = ManyDue(10 * HANDFUL), [True]

    def ids_while_another_sweeps(*, now_ms: int) -> tuple[str, ...]:
        found = ManyDue.ids(due, now_ms=now_ms)
        if first_look:
            first_look.clear()
            sweep(due.context(), Published())
        return found

    due.ids = ids_while_another_sweeps  # type: ignore[method-assign]
    sweep(due.context(), Published())
    # The other one took half of all meanwhile, and only what was chosen before can be in vain.
    assert len(due.asked) - len(due.taken) < 0.75 * HANDFUL
