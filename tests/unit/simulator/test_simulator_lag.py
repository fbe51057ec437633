"""Histories and positions that lag behind what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from simulator import accounts
from simulator.accounts import Position
from tests.unit.simulator import loopback
from tests.unit.simulator.loopback import Client, eventually, running
from tests.unit.simulator.small_exchange import PERP, SPOT, START_MS, SmallExchange

LAG_MS = 1_000
FILLS = "/wapi/v1/history/fills"
ORDERS = "/wapi/v1/history/orders"


class LaggingClient(Client):
    """Reads what was at a moment of its choice; what happens is stamped with the true time."""

    seen_at_ms: int | None = None

    def now_ms(self) -> int:
        """Return the clock by which answers are given."""
        return loopback.now_ms() if self.seen_at_ms is None else self.seen_at_ms + LAG_MS

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return a history, oldest first."""
        instruction = "fillHistoryQueryAll" if path == FILLS else "orderHistoryQueryAll"
        answer = self.call("GET", path, instruction, {"sortDirection": "Asc", **query})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        assert answer.headers["X-TOTAL"] == str(len(found))
        return found

    @staticmethod
    def moment() -> int:
        """Return a time after all that has happened and before all that will.

        Not one of the journal's: it writes a thing down later than that thing is stamped.
        """
        at_ms = loopback.now_ms()
        eventually(lambda: loopback.now_ms() > at_ms, "time stands still")
        return at_ms


@pytest.fixture
def client() -> Iterator[LaggingClient]:
    clock = loopback.now_ms
    with running(now_ms=lambda: clock()) as plain:
        client = LaggingClient(plain.url)
        clock = client.now_ms
        yield client
        client.session.close()


def states(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["status"], row["executedQuantity"], row["executedQuoteQuantity"]) for row in rows]


def stamp_ms(row: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(row["timestamp"] + "+00:00").timestamp() * 1000)


def test_a_stale_list_shows_what_was(client: LaggingClient) -> None:
    client.fault("GET /api/v1/orders", "stale_list", delay_ms=LAG_MS)

    def shown(at_ms: int) -> list[tuple[str, str]]:
        client.seen_at_ms = at_ms
        orders = client.call("GET", "/api/v1/orders", "orderQueryAll").json()
        client.seen_at_ms = None
        return [(order["id"], order["status"]) for order in orders]

    before_ms = client.moment()
    order_id = client.place().json()["id"]
    open_ms = client.moment()
    assert (shown(before_ms), shown(open_ms)) == ([], [(order_id, "New")])
    client.cancel(orderId=order_id)
    # As it was then, not as it ended since.
    assert (shown(open_ms), shown(client.moment())) == ([(order_id, "New")], [])


def test_a_stale_history_has_no_fill_that_is_younger(client: LaggingClient) -> None:
    for _ in range(3):
        client.place(price="160", timeInForce="IOC")
        client.moment()
    fills = client.rows(FILLS)
    ids, times_ms = [row["tradeId"] for row in fills], [stamp_ms(row) for row in fills]
    client.fault(f"GET {FILLS}", "stale_history", delay_ms=LAG_MS)
    for at_ms, seen in ((times_ms[0] - 1, 0), (times_ms[0], 1), (times_ms[1], 2), (times_ms[2], 3)):
        client.seen_at_ms = at_ms
        assert [row["tradeId"] for row in client.rows(FILLS)] == ids[:seen]
    client.seen_at_ms = times_ms[1]
    assert [row["tradeId"] for row in client.rows(FILLS, to=times_ms[2] + 1)] == ids[:2]
    assert [row["tradeId"] for row in client.rows(FILLS, to=times_ms[1])] == ids[:1]
    assert [row["tradeId"] for row in client.rows(FILLS, **{"from": times_ms[0] + 1})] == ids[1:2]
    client.session.delete(client.url + "/sim/faults", timeout=5)
    assert len(client.rows(FILLS)) == 3


def test_a_stale_history_shows_an_order_as_it_was_before_its_fills_and_its_end(client: LaggingClient) -> None:
    order = client.place(price="149.99", quantity="1").json()
    moments = [client.moment()]
    for quantity in ("0.25", "0.5"):
        client.post("/sim/trade", {"symbol": SPOT, "side": "Ask", "price": "149.99", "quantity": quantity})
        moments.append(client.moment())
    client.cancel(orderId=order["id"])
    moments.append(client.moment())
    client.fault(f"GET {ORDERS}", "stale_history", delay_ms=LAG_MS)
    expected = [
        ("New", "0", "0"),
        ("PartiallyFilled", "0.25", "37.4975"),
        ("PartiallyFilled", "0.75", "112.4925"),
        ("Cancelled", "0.75", "112.4925"),
    ]
    for at_ms, state in zip(moments, expected, strict=True):
        client.seen_at_ms = at_ms
        assert states(client.rows(ORDERS, orderId=order["id"])) == [state]
    client.seen_at_ms = order["createdAt"]
    assert states(client.rows(ORDERS)) == expected[:1]
    client.seen_at_ms = order["createdAt"] - 1
    assert client.rows(ORDERS) == []


def test_a_stale_history_tells_no_reason_for_an_end_that_has_not_come(client: LaggingClient) -> None:
    client.place(symbol=PERP, price="160", quantity="1", timeInForce="IOC")
    client.place(symbol=PERP, side="Ask", price="170", quantity="1", reduceOnly=True)
    before_ms = client.moment()
    client.place(symbol=PERP, side="Ask", price="140", quantity="1", timeInForce="IOC")
    client.fault(f"GET {ORDERS}", "stale_history", delay_ms=LAG_MS)
    client.seen_at_ms = before_ms
    assert [(row["status"], row["expiryReason"]) for row in client.rows(ORDERS)] == [
        ("Filled", None),
        ("New", None),
    ]
    client.seen_at_ms = client.moment()
    assert client.rows(ORDERS)[1]["expiryReason"] == "ReduceOnlyNotReduced"


def test_a_late_position_is_that_of_a_moment_ago(client: LaggingClient) -> None:
    def shown() -> str | None:
        answer = client.call("GET", "/api/v1/position", "positionQuery", {"symbol": PERP})
        assert answer.status_code in {200, 404}
        return str(answer.json()[0]["netQuantity"]) if answer.status_code == 200 else None

    moments = [client.moment()]
    for side, price in (("Bid", "160"), ("Bid", "160"), ("Ask", "140")):
        quantity = "3" if side == "Ask" else "1.5"
        client.place(symbol=PERP, side=side, price=price, quantity=quantity, timeInForce="IOC")
        moments.append(client.moment())
    assert shown() is None
    client.fault("GET /api/v1/position", "late_position", delay_ms=LAG_MS)
    seen = []
    for at_ms in moments:
        client.seen_at_ms = at_ms
        seen.append(shown())
    assert seen == [None, "1.5", "3", None]


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("GET /api/v1/orders", "stale_history"),
        ("GET /wapi/v1/history/funding", "stale_history"),
        ("GET /api/v1/capital", "late_position"),
        ("POST /api/v1/order", "late_position"),
    ],
)
def test_a_lag_that_could_never_show_is_refused(client: Client, endpoint: str, kind: str) -> None:
    rule = {"endpoint": endpoint, "kind": kind, "delay_ms": 1}
    answer = client.post("/sim/faults", [rule])
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FAULT")
    assert client.post("/sim/faults", [rule | {"endpoint": "*"}]).status_code == 200


def test_a_position_remembers_its_entry_its_profit_and_its_number() -> None:
    exchange = SmallExchange()
    exchange.show("99", "101", symbol=PERP)
    for side, quantity in (("Bid", "2"), ("Ask", "3")):
        exchange.place(exchange.demo, side, None, quantity, symbol=PERP)
        exchange.now_ms += 10
    held = exchange.demo.positions[PERP]

    def at(at_ms: int) -> list[Decimal]:
        then = held.as_at(at_ms)
        return [then.net, then.entry, then.realized]

    assert at(START_MS - 1) == [0, 0, 0]
    assert at(START_MS) == at(START_MS + 9) == [2, 101, 0]
    assert at(START_MS + 10) == at(START_MS + 99) == [-1, 99, -4]
    assert held.as_at(START_MS).position_id != ""
    assert held.as_at(START_MS - 1).position_id == ""


def test_of_several_changes_in_one_moment_the_last_counts() -> None:
    held = Position()
    for net in (1, 2, 3):
        held.remember(START_MS)
        held.net = Decimal(net)
    assert [held.as_at(START_MS + shift).net for shift in (-1, 0, 1)] == [0, 3, 3]


def test_a_position_shows_the_oldest_that_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "CHANGES_KEPT", 2)
    held = Position()
    for number in range(5):
        held.remember(START_MS + number)
        held.net += 1
    assert [held.as_at(at_ms).net for at_ms in (0, START_MS + 2, START_MS + 3, START_MS + 4)] == [3, 3, 4, 5]
