"""The table of phases against what the scripts really do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest
import redis

from market.orders import Role
from state import keys
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.due import Due
from state.instances import TRANSITIONS, Instances
from state.leases import Lease, LeaseLost, Leases
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests.store_clock import StoreClock

NAME = "mm_01"
#: The one change that takes orders kept by an earlier stop.
KEPT_AFTER_ALL = (Phase.STOPPED, Phase.STOPPING)


class World:
    """One instance and every operation there is, each with the permission it wants."""

    def __init__(self, client: redis.Redis, scripts: Scripts, clock: StoreClock) -> None:
        self.client = client
        self.clock = clock
        self.instances = Instances(client, scripts)
        self.leases = Leases(client, scripts, lease_ms=1_000, grace_ms=100, fence_margin_ms=0)
        self.cleanup_leases = CleanupLeases(client, scripts, lease_ms=1_000, grace_ms=100, fence_margin_ms=0)
        self.due = Due(client, scripts, grace_ms=100)
        self.lease: Lease | None = None
        self.cleanup: CleanupLease | None = None

    @property
    def phase(self) -> Phase:
        """Return where the instance stands."""
        record = self.instances.read(NAME)
        return record.phase if record else Phase.STOPPED

    def bring_to(self, phase: Phase) -> None:
        """Take the instance to a phase by operations alone."""
        if phase is Phase.STOPPED:
            return
        self.start()
        if phase is Phase.RUNNING:
            return
        self.request_stop()
        if phase is Phase.FAILED:
            self.claim_cleanup()
            self.finish_unclean_at_last()
        assert self.phase is phase

    def start(self, *, force: bool = False) -> None:
        """Begin a run."""
        record = self.instances.read(NAME)
        accept = AcceptedLeft(epoch=record.epoch, left=record.left) if force and record else None
        self.instances.start(
            NAME, config_version="v", config_json="{}", slot=1, account="a", by="test", accept=accept
        )

    def forced_start(self) -> None:
        """Begin a run, from failed too."""
        self.start(force=True)

    def request_stop(self) -> None:
        """Ask for a stop."""
        self.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())

    def claim(self) -> None:
        """Claim a wake-up."""
        record = self.instances.read(NAME)
        if record is not None and record.phase is Phase.RUNNING:
            self.client.hset(keys.record(NAME), "woken", 1)
        claimed = self.leases.claim(NAME, epoch=record.epoch if record else 0, tick=None, task_id="t")
        self.lease = claimed if isinstance(claimed, Lease) else self.lease

    def authorize(self) -> None:
        """Authorise an order."""
        if self.lease:
            self.leases.authorize(self.lease, window_ms=0, orders=[(0, Role.QUOTE)])

    def commit(self) -> None:
        """End an iteration."""
        if self.lease:
            self.leases.commit(self.lease, resolved=True, state_json="", interval_ms=1, next_task_id="t")

    def claim_cleanup(self) -> None:
        """Claim the cleanup."""
        record = self.instances.read(NAME)
        claimed = self.cleanup_leases.claim(NAME, epoch=record.epoch if record else 0, by="test")
        self.cleanup = claimed if isinstance(claimed, CleanupLease) else self.cleanup

    def renew_cleanup(self) -> None:
        """Prolong the cleanup lease."""
        if self.cleanup:
            self.cleanup_leases.renew(self.cleanup, settled=True)

    def authorize_cleanup(self) -> None:
        """Authorise an order that closes the position."""
        if self.cleanup:
            self.cleanup_leases.authorize(self.cleanup, window_ms=0, orders=[(0, Role.CLEANUP)])

    def finish(self, *, clean: bool, attempts_until_failed: int = 1_000) -> None:
        """End a cleanup."""
        if self.cleanup:
            self.cleanup_leases.finish(
                self.cleanup,
                clean=clean,
                outcome_json="{}",
                retry_after_ms=1,
                attempts_until_failed=attempts_until_failed,
            )

    def finish_clean(self) -> None:
        """End a cleanup clean."""
        self.finish(clean=True)

    def finish_unclean(self) -> None:
        """End an unclean attempt of which more are allowed."""
        self.finish(clean=False)

    def finish_unclean_at_last(self) -> None:
        """End the last unclean attempt that is allowed."""
        self.finish(clean=False, attempts_until_failed=1)

    def fail(self) -> None:
        """Take it for failed, because of something that its record does not know."""
        record = self.instances.read(NAME)
        phase, epoch = (record.phase, record.epoch) if record else (Phase.STOPPED, 0)
        # Seen in another phase it would be a cleanup's already.
        self.instances.fail(NAME, why="orders rest", epoch=epoch, phase=phase)

    def sweep(self) -> None:
        """Sweep."""
        self.due.sweep(NAME, task_id="t")


#: Every operation, and the name under which the table knows it.
OPERATIONS: dict[Callable[[World], None], str] = {
    World.start: "start",
    World.forced_start: "start",
    World.request_stop: "request_stop",
    World.claim: "claim",
    World.authorize: "authorize",
    World.commit: "commit",
    World.claim_cleanup: "claim_cleanup",
    World.renew_cleanup: "renew_cleanup",
    World.authorize_cleanup: "authorize_cleanup",
    World.finish_clean: "finish",
    World.finish_unclean: "finish",
    World.finish_unclean_at_last: "finish",
    World.fail: "fail",
    World.sweep: "sweep",
}


def changes_seen(client: redis.Redis) -> dict[tuple[Phase, Phase], set[str]]:
    """Do every operation in every phase, each with and without the permission it wants; note what changes."""
    seen: dict[tuple[Phase, Phase], set[str]] = {}
    for phase, (operation, name), allowed in product(Phase, OPERATIONS.items(), (False, True)):
        client.flushall()
        clock = StoreClock(client)
        world = World(client, clock.scripts, clock)
        world.bring_to(phase)
        if allowed:
            world.claim()
            world.claim_cleanup()
        clock.advance(2)
        with suppress(LeaseLost, AuthorizationRefused):
            operation(world)
        if world.phase is not phase:
            seen.setdefault((phase, world.phase), set()).add(name)
    return seen


def test_the_table_of_transitions_tells_what_the_scripts_do(client: redis.Redis) -> None:
    usual = {change: {name} for change, name in TRANSITIONS.items() if change != KEPT_AFTER_ALL}
    assert changes_seen(client) == usual


def test_only_a_stop_that_kept_orders_can_be_asked_for_more(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    keep = StopPolicy(cancel_orders=False)
    world.start()
    world.instances.request_stop(NAME, by="test", reason="", policy=keep)
    world.claim_cleanup()
    assert world.cleanup is not None
    world.cleanup_leases.finish(
        world.cleanup,
        clean=True,
        outcome_json="{}",
        retry_after_ms=1,
        attempts_until_failed=3,
        keeps_orders=True,
    )

    again = world.instances.request_stop(NAME, by="test", reason="", policy=keep)
    assert (again.result, world.phase) == ("stopped", Phase.STOPPED)

    more = world.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    assert (more.result, world.phase) == ("stopping", Phase.STOPPING)
    assert TRANSITIONS[KEPT_AFTER_ALL] == "request_stop"
    world.claim_cleanup()
    assert world.cleanup is not None
    assert world.cleanup.policy == StopPolicy()
    world.finish_clean()
    assert world.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy()).result == "stopped"


def test_a_joined_stop_may_ask_for_more_but_not_for_less(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    world.bring_to(Phase.STOPPING)
    world.claim_cleanup()
    first = world.cleanup
    assert first is not None

    less = StopPolicy(cancel_orders=False)
    assert world.instances.request_stop(NAME, by="test", reason="", policy=less).result == "joined"
    world.renew_cleanup()  # goes on

    more = StopPolicy(close_position=True)
    assert world.instances.request_stop(NAME, by="test", reason="", policy=more).result == "joined"
    with pytest.raises(LeaseLost):
        world.renew_cleanup()  # it followed the old policy
    world.claim_cleanup()
    assert world.cleanup is not None
    assert world.cleanup is not first
    assert world.cleanup.policy == StopPolicy(cancel_orders=True, close_position=True)


def test_no_permission_survives_into_a_phase_that_does_not_give_it(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    world.start()
    world.claim()
    world.request_stop()
    with pytest.raises(AuthorizationRefused, match="phase"):
        world.authorize()
    world.commit()
    world.claim_cleanup()
    world.finish_clean()
    assert world.phase is Phase.STOPPED
    with pytest.raises(LeaseLost):
        world.commit()
    with pytest.raises(LeaseLost):
        world.renew_cleanup()
    with pytest.raises(AuthorizationRefused):
        world.authorize_cleanup()


def test_a_start_from_failed_takes_force(client: redis.Redis, scripts: Scripts, clock: StoreClock) -> None:
    world = World(client, scripts, clock)
    world.bring_to(Phase.FAILED)
    world.start()
    phases = [world.phase]
    world.forced_start()
    assert [*phases, world.phase] == [Phase.FAILED, Phase.RUNNING]


def test_not_even_force_starts_while_a_cleanup_of_a_failed_run_works(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    world.bring_to(Phase.FAILED)
    world.claim_cleanup()
    world.forced_start()
    assert world.phase is Phase.FAILED


def test_a_stop_of_another_run_changes_nothing(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    world.start()
    stop = world.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy(), epoch=2)
    assert (stop.result, stop.epoch) == ("stale", 1)
    assert world.phase is Phase.RUNNING


def test_a_second_stop_joins_the_first_and_keeps_its_reason(
    client: redis.Redis, scripts: Scripts, clock: StoreClock
) -> None:
    world = World(client, scripts, clock)
    world.start()
    first = world.instances.request_stop(NAME, by="one", reason="first", policy=StopPolicy())
    second = world.instances.request_stop(NAME, by="two", reason="second", policy=StopPolicy())
    assert (first.result, second.result) == ("stopping", "joined")
    record = world.instances.read(NAME)
    assert record is not None
    assert (record.stop_by, record.stop_reason) == ("one", "first")


def test_an_instance_never_started_has_no_record_and_cannot_be_stopped(
    client: redis.Redis, scripts: Scripts
) -> None:
    instances = Instances(client, scripts)
    stop = instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    assert (stop.result, stop.epoch) == ("stopped", 0)
    assert instances.read(NAME) is None
    assert not client.exists(keys.stop(NAME))


@pytest.mark.parametrize("policy", [StopPolicy(), StopPolicy(cancel_orders=False, close_position=True)])
def test_a_policy_survives_being_stored(policy: StopPolicy) -> None:
    assert StopPolicy.from_json(policy.to_json()) == policy


def test_each_instance_has_keys_of_its_own_that_stay_together() -> None:
    makers = (keys.record, keys.stop, keys.config, keys.generations, keys.released, keys.trace)
    made = {maker(name) for maker in makers for name in ("a", "b")}
    assert len(made) == 2 * len(makers)
    assert all("{a}" in key or "{b}" in key for key in made)
