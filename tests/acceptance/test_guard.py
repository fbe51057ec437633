"""Everything of ours dies, and the guard cancels what is left: real processes, killed without a word."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.stack import Stack, StackOptions
from cli.stack.valkey import ServerNotFound
from runner.context import open_context
from state.record import Phase
from tests.acceptance.command import plain_environ
from tests.acceptance.conftest import LIVE_KEYS, public_key_of, skip_or_fail
from tests.acceptance.guarded import (
    ACTS_WITHIN_S,
    AFTER_S,
    SHORT,
    GuardProcess,
    kill_working,
    start_working,
)
from tests.acceptance.human import Human
from tests.acceptance.simulated_exchange import EVERYTHING, SimulatedExchange, fault
from tests.acceptance.world import World, eventually, holds_for, tell

pytestmark = pytest.mark.acceptance


#: A second key of the account that stands for real money.
GUARDS_SECRET = base64.b64encode(bytes([3]) * 32).decode()
GUARDS_KEYS = {"BACKPACK_KEY": public_key_of(GUARDS_SECRET), "BACKPACK_SECRET": GUARDS_SECRET}


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack that nobody supervises: what is killed stays dead until a test starts it."""
    config_dir = tmp_path_factory.mktemp("guarded-instances")
    accounts = tmp_path_factory.mktemp("accounts") / "accounts.json"
    accounts.write_text(json.dumps([{"name": "other", "more_keys": [GUARDS_KEYS["BACKPACK_KEY"]]}]))
    options = StackOptions(
        run_dir=tmp_path_factory.mktemp("guarded"),
        config_dir=config_dir,
        simulator_arguments=("--flow", "still", "--accounts", str(accounts)),
        environ=plain_environ() | LIVE_KEYS | SHORT,
        supervise=False,
    )
    stack = Stack(options)
    try:
        stack.start()
    except ServerNotFound as error:
        skip_or_fail(error)
    context = open_context(stack.settings())
    exchange = SimulatedExchange(stack.simulator_url)
    try:
        yield World(stack=stack, context=context, exchange=exchange, config_dir=config_dir)
    finally:
        exchange.close()
        context.client.close()
        stack.stop()


@pytest.fixture
def world(fragile: World) -> Iterator[World]:
    """The fragile stack with everything up, and nothing running at the end."""
    _everything_up(fragile)
    yield fragile
    _everything_up(fragile)
    fragile.close()
    fragile.started.clear()


@pytest.fixture
def guard(world: World, tmp_path: Path) -> Iterator[GuardProcess]:
    """A guard process that has looked around."""
    process = GuardProcess(world=world, log_file=tmp_path / "guard.log")
    process.start()
    yield process
    process.close()


@pytest.fixture
def human(world: World) -> Iterator[Human]:
    """Somebody who trades by hand with the same account, on the same market."""
    human = Human(world.stack.simulator_url)
    yield human
    human.leave()


def _everything_up(world: World) -> None:
    server = world.stack.server
    assert server is not None
    if not server.process.is_alive:
        server.start()
        server.wait_ready()
    start_working(world)
    eventually(lambda: world.serving_queues() >= {"iterate", "cleanup"}, what="a worker for each queue")


def kill_server(world: World) -> None:
    server = world.stack.server
    assert server is not None
    server.kill()


def run_watched(world: World, guard: GuardProcess, *instances: str) -> dict[str, int]:
    """Start instances, wait until their orders rest and the guard knows them; return their slots."""
    for instance_id in instances:
        world.run(instance_id)
        guard.wait_for("instance watched", instance_id)
    guard.wait_for("account can be acted on")
    return {instance_id: world.slot(instance_id) for instance_id in instances}


def wait_until_gone(world: World, slots: dict[str, int], since_s: float) -> None:
    """Return once no own order rests, and check that the guard was in time and not too early."""
    eventually(
        lambda: not any(world.exchange.open_order_ids(slot=slot) for slot in slots.values()),
        AFTER_S + ACTS_WITHIN_S + 5,
        what="no own order left",
    )
    took_s = time.monotonic() - since_s
    tell(f"no order left {took_s:.1f} s after the kill (the guard acts after {AFTER_S:g} s)")
    assert AFTER_S - 1.5 <= took_s <= AFTER_S + ACTS_WITHIN_S


def assert_goes_on_and_stops_clean(world: World, instances: dict[str, int]) -> None:
    """Check that what was interrupted quotes again by itself, and leaves nothing."""
    for instance_id in instances:
        world.wait_for_orders(instance_id)
        assert world.record(instance_id).errors == 0
    for instance_id, slot in instances.items():
        assert world.exchange.most_open_at_once(slot) == 6
        assert world.stop(instance_id).is_clean
        assert world.exchange.open_order_ids(slot=slot) == set()


def test_orders_of_a_dead_fleet_are_cancelled_and_a_fleet_that_is_back_goes_on(
    world: World, guard: GuardProcess, human: Human
) -> None:
    slots = run_watched(world, guard, "guard_dead_01", "guard_dead_02")
    by_hand = {human.bid("130"), human.bid("131", client_id=(4_000 << 20) | 7)}
    killed_s = time.monotonic()
    kill_working(world)
    wait_until_gone(world, slots, killed_s)
    assert by_hand <= world.exchange.open_order_ids()
    for instance_id in slots:
        guard.wait_for("guard_verified", instance_id)
        event = world.wait_for_event(instance_id, "guard_acted")
        assert len(event.fields["cancelled"].split(",")) == 6
        assert world.record(instance_id).phase is Phase.RUNNING
    start_working(world)
    assert_goes_on_and_stops_clean(world, slots)
    assert by_hand <= world.exchange.open_order_ids()


def test_with_the_state_server_dead_too_the_guard_acts_from_what_it_remembers(
    world: World, guard: GuardProcess, human: Human
) -> None:
    slots = run_watched(world, guard, "guard_alone_01")
    by_hand = human.bid("130")
    killed_s = time.monotonic()
    kill_working(world)
    kill_server(world)
    wait_until_gone(world, slots, killed_s)
    assert by_hand in world.exchange.open_order_ids()
    guard.wait_for("guard_verified", "guard_alone_01")
    _everything_up(world)
    world.wait_for_event("guard_alone_01", "guard_acted")
    assert_goes_on_and_stops_clean(world, slots)


@pytest.mark.slow
def test_a_guard_that_was_started_after_the_state_server_died_acts_from_its_file(
    world: World, guard: GuardProcess
) -> None:
    slots = run_watched(world, guard, "guard_file_01")
    kill_working(world)
    kill_server(world)
    guard.kill()
    file = world.stack.options.run_dir / "guard.json"
    assert file.stat().st_mode & 0o777 == 0o600
    guard.start()
    wait_until_gone(world, slots, time.monotonic())
    _everything_up(world)
    assert_goes_on_and_stops_clean(world, slots)


@pytest.mark.slow
def test_nobody_is_acted_for_while_workers_live_however_long_the_interval(
    world: World, guard: GuardProcess
) -> None:
    for instance_id, interval in (("guard_long_01", "60"), ("guard_short_01", "0.5")):
        world.configure(instance_id, interval=interval)
        world.start(instance_id)
        world.wait_for_orders(instance_id)
        guard.wait_for("instance watched", instance_id)
    resting = world.exchange.open_order_ids(slot=world.slot("guard_long_01"))
    began_s, used_s = time.monotonic(), guard.cpu_s()
    holds_for(
        lambda: world.exchange.open_order_ids(slot=world.slot("guard_long_01")) == resting,
        3 * AFTER_S,
        what="the orders of an instance that waits for its next iteration",
    )
    share = (guard.cpu_s() - used_s) / (time.monotonic() - began_s)
    tell(f"the guard holds {guard.memory_mb():.0f} MB and uses {share:.1%} of a core")
    assert guard.lines("guard_acted") == []
    code, took_s = guard.terminate()
    assert code == 0
    tell(f"ended {took_s:.1f} s after SIGTERM")
    assert world.stop("guard_long_01").is_clean


@pytest.mark.slow
def test_an_instance_with_a_long_interval_is_not_forgotten_when_its_workers_die(
    world: World, guard: GuardProcess
) -> None:
    world.configure("guard_long_02", interval="600")
    world.start("guard_long_02")
    world.wait_for_orders("guard_long_02")
    guard.wait_for("instance watched", "guard_long_02")
    kill_working(world)
    wait_until_gone(world, {"guard_long_02": world.slot("guard_long_02")}, time.monotonic())


@pytest.mark.slow
def test_an_exchange_that_is_down_meanwhile_is_asked_until_it_is_back(
    world: World, guard: GuardProcess
) -> None:
    slots = run_watched(world, guard, "guard_outage_01")
    world.exchange.set_faults(fault(EVERYTHING, "error"))
    kill_working(world)
    guard.wait_for("account cannot be acted on")
    holds_for(lambda: world.exchange.hits(EVERYTHING) > 0, AFTER_S + 1, what="tries during the outage")
    assert len(world.exchange.open_order_ids(slot=slots["guard_outage_01"])) == 6
    world.exchange.clear_faults()
    back_s = time.monotonic()
    eventually(lambda: not world.exchange.open_order_ids(slot=slots["guard_outage_01"]), what="no order left")
    tell(f"no order left {time.monotonic() - back_s:.1f} s after the exchange was back")
    start_working(world)
    assert_goes_on_and_stops_clean(world, slots)


@pytest.mark.slow
def test_with_the_action_stop_the_run_is_stopped_and_its_cleanup_proves_it(
    world: World, tmp_path: Path
) -> None:
    guard = GuardProcess(
        world=world, log_file=tmp_path / "stops.log", more={"CLEANBOOK_GUARD_ACTION": "stop"}
    )
    guard.start()
    try:
        slots = run_watched(world, guard, "guard_stop_01")
        kill_working(world)
        wait_until_gone(world, slots, time.monotonic())
        eventually(lambda: world.record("guard_stop_01").phase is Phase.STOPPING, what="the stop")
        assert world.record("guard_stop_01").stop_by.startswith("guard ")
        start_working(world)
        assert world.wait_stopped("guard_stop_01").is_clean
    finally:
        guard.close()


@pytest.mark.slow
def test_a_fleet_that_comes_back_in_time_is_left_alone(world: World, guard: GuardProcess) -> None:
    slots = run_watched(world, guard, "guard_back_01")
    kill_working(world)
    time.sleep(AFTER_S / 2)
    start_working(world)
    before = len(world.commits("guard_back_01"))
    eventually(lambda: len(world.commits("guard_back_01")) > before + 2, what="iterations go on")
    assert guard.lines("guard_acted") == []
    assert_goes_on_and_stops_clean(world, slots)


@pytest.mark.slow
def test_a_guard_with_a_key_of_its_own_finds_out_that_it_opens_the_account(
    world: World, tmp_path: Path
) -> None:
    instance_id, account = "guard_live_01", "other"
    keys = {"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"}
    guard = GuardProcess(world=world, log_file=tmp_path / "own-key.log", more=GUARDS_KEYS)
    guard.start()
    try:
        world.configure(
            instance_id, exchange={**keys, "base_url": world.stack.simulator_url}, top={"live": True}
        )
        world.start(instance_id)
        slot = world.slot(instance_id)
        eventually(lambda: len(world.exchange.open_order_ids(account, slot=slot)) == 6, what="live orders")
        guard.wait_for("another key opens the account, as its orders show")
        kill_working(world)
        kill_server(world)
        killed_s = time.monotonic()
        eventually(lambda: not world.exchange.open_order_ids(account, slot=slot), what="no order left")
        assert time.monotonic() - killed_s <= AFTER_S + ACTS_WITHIN_S
        _everything_up(world)
        eventually(lambda: len(world.exchange.open_order_ids(account, slot=slot)) == 6, what="orders again")
        assert world.stop(instance_id).is_clean
    finally:
        guard.close()
    said = guard.log_file.read_text() + (world.stack.options.run_dir / "guard.json").read_text()
    assert GUARDS_SECRET not in said


@pytest.mark.slow
def test_a_fleet_that_was_frozen_and_wakes_goes_on_clean(world: World, guard: GuardProcess) -> None:
    slots = run_watched(world, guard, "guard_frozen_01")
    groups = [world.stack.processes[name].pid or 0 for name in ("iterate", "cleanup")]
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    try:
        wait_until_gone(world, slots, time.monotonic())
    finally:
        for group in groups:
            os.killpg(group, signal.SIGCONT)
    assert_goes_on_and_stops_clean(world, slots)
