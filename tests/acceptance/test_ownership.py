"""A stop touches the instance's own orders and nobody else's, on the same symbol and account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.human import Human
from tests.acceptance.world import World

pytestmark = pytest.mark.acceptance


@pytest.fixture
def human(world: World) -> Iterator[Human]:
    human = Human(world.exchange.url)
    yield human
    human.leave()


def test_a_stop_leaves_every_order_of_others(world: World, human: Human) -> None:
    stopped, running = world.run("mine_01"), world.run("mine_02", spread="4", refresh_tolerance_bps=150)
    assert world.slot(stopped) != world.slot(running)
    of_humans = {
        human.bid("140.00"),
        human.bid("140.01", client_id=7),
        human.bid("140.02", client_id=(1 << 20) - 1),
    }
    third_party = world.exchange.rest(account="other", side="Bid", price="140.03", quantity="0.1")
    others_before = world.exchange.open_order_ids(slot=world.slot(running))
    assert len(others_before) == 6

    outcome = world.stop(stopped)

    assert outcome.is_clean
    assert len(outcome.cancelled_order_ids) == 6
    assert world.exchange.open_order_ids(slot=world.slot(stopped)) == set()
    still_open = world.exchange.open_order_ids()
    assert others_before | of_humans <= still_open
    assert third_party in world.exchange.open_order_ids("other")
    cancelled = {entry.order_id for entry in world.exchange.journal() if entry.event == "order_cancelled"}
    assert not cancelled & ({*of_humans, third_party} | others_before)
    committed = world.commits(running)[-1]
    assert world.wait_for_commit_after(running, committed, 60) > 0, "the other goes on"


def test_restarting_one_instance_again_and_again_never_touches_its_neighbour(world: World) -> None:
    neighbour = world.run("neighbour_01", spread="4", refresh_tolerance_bps=150)
    slot = world.slot(neighbour)
    before = world.exchange.open_order_ids(slot=slot)
    world.configure("restless_01")
    for _ in range(3):
        world.start("restless_01")
        world.wait_for_orders("restless_01")
        assert world.stop("restless_01").is_clean
    assert world.exchange.open_order_ids(slot=slot) == before
