"""Fills that the exchange makes of its own accord."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from simulator.errors import Refusal
from simulator.liquidation import ON_BOOK, liquidate
from simulator.markets import MARKETS
from simulator.orders import Order
from tests.unit.simulator.loopback import Client, running
from tests.unit.simulator.small_exchange import PERP, SPOT, SmallExchange


@pytest.fixture
def exchange() -> SmallExchange:
    exchange = SmallExchange()
    exchange.show("99", "101", symbol=PERP)
    return exchange


def liquidated(exchange: SmallExchange, quantity: str, *, symbol: str = PERP) -> Order:
    return liquidate(
        exchange.engine, exchange.demo, MARKETS[symbol], Decimal(quantity), at_ms=exchange.now_ms
    )


@pytest.mark.parametrize(
    ("side", "price", "net_after"), [("Bid", Decimal(99), Decimal("1.5")), ("Ask", Decimal(101), Decimal(-1))]
)
def test_a_liquidation_closes_a_part_at_the_touch_and_costs_what_a_taker_pays(
    exchange: SmallExchange, side: str, price: Decimal, net_after: Decimal
) -> None:
    opened = exchange.place(exchange.demo, side, None, "3", symbol=PERP)
    before = exchange.demo.balances["USDC"]
    quantity = 3 - abs(net_after)
    order = liquidated(exchange, str(quantity))
    fill = exchange.fills()[-1]
    assert (fill.order, fill.price, fill.quantity, fill.maker) == (order, price, quantity, False)
    assert exchange.demo.net(PERP) == net_after
    paid = opened.executed_quote / 3
    profit = (price - paid) * quantity * (1 if side == "Bid" else -1)
    assert exchange.demo.balances["USDC"] == before + profit - price * quantity * Decimal("0.0005")
    assert order.wanted.client_id is None


def test_a_liquidation_takes_no_more_than_the_position_and_ends(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", None, "2", symbol=PERP)
    order = liquidated(exchange, "5")
    assert (order.status, order.executed, exchange.demo.net(PERP)) == ("Filled", Decimal(2), Decimal(0))
    assert exchange.engine.resting.of_account(exchange.demo) == []


@pytest.mark.parametrize(("symbol", "quantity"), [(PERP, "1"), (SPOT, "1")])
def test_there_is_nothing_to_liquidate_without_a_position(
    exchange: SmallExchange, symbol: str, quantity: str
) -> None:
    with pytest.raises(Refusal, match="has no position"):
        liquidated(exchange, quantity, symbol=symbol)
    assert exchange.fills() == []


def test_a_liquidation_passes_over_the_accounts_own_orders_and_takes_those_of_others(
    exchange: SmallExchange,
) -> None:
    exchange.place(exchange.demo, "Bid", None, "3", symbol=PERP)
    own = exchange.place(exchange.demo, "Bid", "100.5", "1", symbol=PERP)
    theirs = exchange.place(exchange.other, "Bid", "100", "0.5", symbol=PERP)
    liquidated(exchange, "1")
    assert (own.executed, theirs.executed, own.rests) == (Decimal(0), Decimal("0.5"), True)
    assert exchange.demo.net(PERP) == 2


def test_a_reduce_only_order_shrinks_with_a_liquidated_position(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", None, "3", symbol=PERP)
    exit_order = exchange.place(exchange.demo, "Ask", "105", "3", symbol=PERP, reduceOnly=True)
    liquidated(exchange, "1")
    assert exit_order.remaining == 2
    liquidated(exchange, "2")
    assert exit_order.expiry_reason == "ReduceOnlyNotReduced"


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        client.place(symbol=PERP, side="Ask", price="140", quantity="2", timeInForce="IOC", clientId=7)
        yield client


def fills(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def test_the_histories_and_the_journal_tell_that_nobody_asked_for_it(client: Client) -> None:
    body = {"account": "demo", "symbol": PERP, "quantity": "0.5"}
    order = client.post("/sim/liquidate", body).json()
    assert (order["executedQuantity"], order["clientId"]) == ("0.5", None)
    system, user = fills(client)
    assert (system["systemOrderType"], system["clientId"], system["side"]) == (ON_BOOK, None, "Bid")
    assert (system["orderId"], system["isMaker"], system["feeSymbol"]) == (order["id"], False, "USDC")
    assert (user["systemOrderType"], user["clientId"]) == (None, "7")
    (row, _) = client.call("GET", "/wapi/v1/history/orders", "orderHistoryQueryAll").json()
    assert (row["id"], row["systemOrderType"], row["status"]) == (order["id"], ON_BOOK, "Filled")
    assert [entry["system"] for entry in client.journal("fill")] == [False, True]
    (position,) = client.call("GET", "/api/v1/position", "positionQuery").json()
    assert position["netQuantity"] == "-1.5"


def test_fills_are_asked_for_by_who_made_them(client: Client) -> None:
    client.post("/sim/liquidate", {"account": "demo", "symbol": PERP, "quantity": "0.5"})
    kinds = {
        "User": [None],
        "BookLiquidation": [ON_BOOK],
        "Liquidation": [ON_BOOK],
        "AllLiquidation": [ON_BOOK],
        "Adl": [],
        "Backstop": [],
        "CollateralConversion": [],
        "CollateralConversionAndSpotLiquidation": [],
    }
    shown = {kind: [row["systemOrderType"] for row in fills(client, fillType=kind)] for kind in kinds}
    assert shown == kinds
    answer = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", {"fillType": "Mine"})
    assert (answer.status_code, answer.text[:28]) == (400, "failed to parse parameter `f")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"account": "nobody"}, 404),
        ({"account": None}, 404),
        ({"symbol": "NO_SUCH"}, 400),
        ({"symbol": "ETH_USDC_PERP"}, 400),
        ({"quantity": "0"}, 400),
        ({"quantity": "0.005"}, 400),
        ({"quantity": None}, 400),
    ],
    ids=str,
)
def test_a_liquidation_that_cannot_be_is_refused_and_changes_nothing(
    client: Client, changed: dict[str, Any], status: int
) -> None:
    body = {"account": "demo", "symbol": PERP, "quantity": "0.5"} | changed
    assert client.post("/sim/liquidate", body).status_code == status
    assert len(client.journal("fill")) == 1
