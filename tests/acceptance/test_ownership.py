"""A stop touches the instance's own orders and nobody else's, on the same symbol and account."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from exchanges.backpack.client import BackpackClient, Request
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.budget import RequestKind, UnlimitedBudget
from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY
from tests.acceptance.world import World

pytestmark = pytest.mark.acceptance


class Human:
    """Somebody who trades by hand with the account that the instances use."""

    def __init__(self, url: str) -> None:
        self._client = BackpackClient(
            BackpackConfig(base_url=url),
            Credentials(api_key=DEMO_API_KEY, secret_key=DEMO_SECRET_KEY),
            UnlimitedBudget(),
        )
        self._order_ids: list[str] = []

    def bid(self, price: str, *, client_id: int | None = None) -> str:
        """Rest a bid; return its id."""
        order: dict[str, str | int | bool] = {
            "symbol": "SOL_USDC",
            "side": "Bid",
            "orderType": "Limit",
            "price": price,
            "quantity": "0.1",
        }
        if client_id is not None:
            order["clientId"] = client_id
        answer = self._send("POST", RequestKind.PLACE, "orderExecute", order)
        self._order_ids.append(str(answer["id"]))
        return self._order_ids[-1]

    def leave(self) -> None:
        """Cancel what is left and go."""
        for order_id in self._order_ids:
            self._send(
                "DELETE", RequestKind.CANCEL, "orderCancel", {"symbol": "SOL_USDC", "orderId": order_id}
            )
        self._client.close()

    def _send(
        self, method: str, kind: RequestKind, instruction: str, payload: dict[str, str | int | bool]
    ) -> dict[str, str]:
        answer = self._client.send(
            Request(
                method=method,
                path="/api/v1/order",
                kind=kind,
                payload=payload,
                instruction=instruction,
                timestamp_ms=int(time.time() * 1000),
                window_ms=5000,
            )
        )
        assert answer.status == 200, answer.body
        found: dict[str, str] = json.loads(answer.body)
        return found


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
    assert world.wait_for_commit_after(running, committed, 5) > 0, "the other goes on"


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
