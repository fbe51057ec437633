"""The state server's machine loses its power, and the server the last second of what it had confirmed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli.stack.stack import Stack, StackOptions
from cli.stack.valkey import ServerNotFound
from runner.context import open_context
from state.record import Phase
from tests.acceptance.command import plain_environ
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import WINDOW_MS, World, eventually, holds_for, tell
from tests.conftest import services_required
from tests.power_cut import PowerCut

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

#: The longest that a request which was authorised before a cut may still be accepted.
REACH_S = WINDOW_MS / 1000 + 1
#: For a stop after the cut the project promises 10 s to a machine that has time; what it takes is told.
BOUND_S = 40.0


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose state server forces its file to the disk once a second."""
    folder = tmp_path_factory.mktemp("forgetful")
    (folder / "instances").mkdir()
    options = StackOptions(
        run_dir=folder,
        config_dir=folder / "instances",
        simulator_arguments=("--flow", "still"),
        server_fsync="everysec",
        environ=plain_environ(),
    )
    stack = Stack(options)
    try:
        stack.start()
    except ServerNotFound as error:
        if services_required():
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def world(forgetful: Stack) -> Iterator[World]:
    """That stack in good health."""
    with closing(SimulatedExchange(forgetful.simulator_url)) as exchange:
        context = open_context(forgetful.settings())
        world = World(
            stack=forgetful, context=context, exchange=exchange, config_dir=forgetful.options.config_dir
        )
        eventually(lambda: world.serving_queues() >= {"iterate", "cleanup"}, what="a worker for each queue")
        yield world
        world.close()
        context.client.close()


@pytest.fixture
def power(forgetful: Stack) -> Iterator[PowerCut]:
    assert forgetful.server is not None
    directory: Path = forgetful.data_dir / "valkey"
    power = PowerCut(forgetful.server, directory)
    yield power
    power.close()


@pytest.mark.parametrize("after_s", [0.0, 0.4])
def test_a_stop_that_was_called_clean_stays_clean(world: World, power: PowerCut, after_s: float) -> None:
    instance_id = world.run(f"power_stop_{int(after_s * 10)}")
    slot = world.slot(instance_id)
    assert world.stop(instance_id).is_clean
    time.sleep(after_s)
    accepted = len(world.exchange.accepted(slot))
    lost = power.cut()
    began_s = time.monotonic()
    world.wait_stopped(instance_id, BOUND_S)
    tell(f"{lost} bytes lost; called stopped again {time.monotonic() - began_s:.1f} s after the cut")
    holds_for(
        lambda: (
            not world.exchange.open_order_ids(slot=slot) and world.record(instance_id).phase is Phase.STOPPED
        ),
        REACH_S + 1,
        what="clean",
    )
    assert len(world.exchange.accepted(slot)) == accepted, "an order was accepted after a clean stop"


def test_a_run_goes_on_and_takes_up_what_it_had_placed(world: World, power: PowerCut) -> None:
    instance_id = world.run("power_run", refresh_tolerance_bps="0")
    slot = world.slot(instance_id)
    for down_s in (0.0, 0.7):
        # Within the second that is lost: everything is cancelled and placed anew.
        world.configure(instance_id)
        lost = power.cut(down_s=down_s)
        at_ms = world.context.instances.now_ms()
        took_ms = world.wait_for_commit_after(instance_id, at_ms, BOUND_S)
        world.wait_for_orders(instance_id)
        tell(f"{lost} bytes lost; iterates {took_ms} ms after the cut")
        assert world.record(instance_id).phase is Phase.RUNNING
    assert world.exchange.most_open_at_once(slot) <= 6
    began_s = time.monotonic()
    assert world.stop(instance_id, BOUND_S).is_clean
    tell(f"stopped within {time.monotonic() - began_s:.1f} s")


def test_a_stop_asked_for_right_after_a_cut_waits_out_what_was_lost(world: World, power: PowerCut) -> None:
    instance_id = world.run("power_then_stop", interval="0.3")
    slot = world.slot(instance_id)
    power.cut()
    began_s = time.monotonic()
    outcome = world.stop(instance_id, BOUND_S)
    tell(f"stopped {time.monotonic() - began_s:.1f} s after the cut")
    assert outcome.is_clean
    accepted = len(world.exchange.accepted(slot))
    holds_for(lambda: not world.exchange.open_order_ids(slot=slot), REACH_S + 1, what="an empty book")
    assert len(world.exchange.accepted(slot)) == accepted


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 1.5])
def test_a_start_that_is_lost_leaves_no_order_behind(world: World, power: PowerCut, after_s: float) -> None:
    instance_id = world.configure(f"power_start_{int(after_s * 10)}")
    world.start(instance_id)
    slot = world.slot(instance_id)
    time.sleep(after_s)
    power.cut()
    record = world.context.instances.read(instance_id)
    if record is not None and record.phase is Phase.RUNNING:
        world.wait_for_orders(instance_id)
        assert world.stop(instance_id, BOUND_S).is_clean
    else:
        world.started.remove(instance_id)
        tell(f"the start of {after_s:g} s before was lost")
    holds_for(lambda: not world.exchange.open_order_ids(slot=slot), REACH_S + 1, what="an empty book")
