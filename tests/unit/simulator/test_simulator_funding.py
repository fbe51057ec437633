"""Funding: who pays whom how much, and where it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator.funding import HOUR_MS, QUIET_RATE, Funding, next_hour_ms, run_hourly
from simulator.markets import MARKETS
from tests.unit.simulator.loopback import BID, Client, running
from tests.unit.simulator.small_exchange import PERP, SmallExchange
from tests.unit.simulator.stream_client import listening
from tests.unit.simulator.test_simulator_process import started


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


def rows(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.call("GET", "/wapi/v1/history/funding", "fundingHistoryQueryAll", query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def usdc(client: Client) -> Decimal:
    return Decimal(client.call("GET", "/api/v1/capital", "balanceQuery").json()["USDC"]["available"])


def settle(client: Client, rate: str, symbol: str = PERP) -> list[dict[str, Any]]:
    answer = client.post("/sim/funding", {"symbol": symbol, "rate": rate})
    assert answer.status_code == 200, answer.text
    payments: list[dict[str, Any]] = answer.json()
    return payments


def test_longs_pay_and_shorts_get_in_histories_balances_and_the_journal(client: Client) -> None:
    client.place(symbol=PERP, price="160", quantity="1.25", timeInForce="IOC")
    short = {"symbol": PERP, "account": "other", "side": "Ask", "price": "140", "quantity": "2"}
    client.post("/sim/orders", BID | short | {"timeInForce": "IOC"})
    before = usdc(client)
    with listening(client, "account.balanceUpdate") as stream:
        paid, got = settle(client, "0.0001")
        # The mark is 150.
        assert [(p["account"], p["quantity"]) for p in (paid, got)] == [
            ("demo", "-0.01875"),
            ("other", "0.03"),
        ]
        assert usdc(client) == before - Decimal("0.01875")
        assert Decimal(stream.until("account.balanceUpdate", 1)[0]["A"]) == usdc(client)
    (row,) = rows(client)
    assert row == {name: value for name, value in paid.items() if name != "account"}
    assert {name: type(value) for name, value in row.items()} == {
        "userId": int,
        "subaccountId": int,
        "symbol": str,
        "quantity": str,
        "intervalEndTimestamp": str,
        "fundingRate": str,
    }
    entries = client.journal("funding")
    assert [(e["account"], e["symbol"], e["amount"], e["rate"]) for e in entries] == [
        ("demo", PERP, "-0.01875", "0.0001"),
        ("other", PERP, "0.03", "0.0001"),
    ]
    (position,) = client.call("GET", "/api/v1/position", "positionQuery").json()
    assert position["cumulativeFundingPayment"] == "-0.01875"


def test_pages_are_newest_first_and_no_two_intervals_end_at_once(client: Client) -> None:
    for symbol in (PERP, "ETH_USDC_PERP"):
        client.place(symbol=symbol, price="3000" if "ETH" in symbol else "160", timeInForce="IOC")
    for number in range(1, 6):
        settle(client, f"0.0000{number}")
    settle(client, "-0.00001", "ETH_USDC_PERP")
    (newest,) = rows(client, limit=1)
    assert (newest["fundingRate"], Decimal(newest["quantity"]) > 0) == ("-0.00001", True)
    of_perp = rows(client, symbol=PERP)
    assert [row["fundingRate"] for row in of_perp] == [f"0.0000{n}" for n in (5, 4, 3, 2, 1)]
    ends = [row["intervalEndTimestamp"] for row in of_perp]
    assert len(set(ends)) == 5
    assert sorted(ends, reverse=True) == ends
    assert rows(client, symbol=PERP, limit=2, offset=1) == of_perp[1:3]
    assert rows(client, symbol=PERP, sortDirection="Asc") == of_perp[::-1]
    answer = client.call("GET", "/wapi/v1/history/funding", "fundingHistoryQueryAll", {"limit": 4})
    assert (answer.headers["X-TOTAL"], answer.headers["X-PAGE-COUNT"]) == ("6", "2")


def test_nobody_pays_without_a_position(client: Client) -> None:
    assert settle(client, "0.0001") == []
    assert rows(client) == []


@pytest.mark.parametrize(
    "body",
    [{"symbol": "SOL_USDC", "rate": "0.1"}, {"symbol": PERP}, {"symbol": PERP, "rate": "2"}, {"rate": "0"}],
)
def test_what_cannot_be_settled_is_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.post("/sim/funding", body).status_code == 400


def exchange_with_a_position() -> tuple[SmallExchange, Funding]:
    exchange = SmallExchange()
    exchange.show("99", "101", symbol=PERP)
    exchange.place(exchange.demo, symbol=PERP, price="101", quantity="3")
    return exchange, Funding(exchange.engine, exchange.journal)


def test_an_interval_ends_on_a_second_unless_one_did_so_already() -> None:
    _, funding = exchange_with_a_position()
    ends = [
        funding.settle(MARKETS[PERP], QUIET_RATE, at_ms=at_ms)[0].wire()["intervalEndTimestamp"]
        for at_ms in (3_600_000, 3_600_000, 3_600_400, 3_601_700)
    ]
    assert ends == [
        "1970-01-01T01:00:00",
        "1970-01-01T01:00:00.001",
        "1970-01-01T01:00:00.400",
        "1970-01-01T01:00:01",
    ]


def test_payments_are_rounded_to_six_decimals() -> None:
    _, funding = exchange_with_a_position()
    (payment,) = funding.settle(MARKETS[PERP], Decimal("0.0000001234"), at_ms=1)
    assert payment.amount == Decimal("-0.000037")


def test_a_new_position_has_paid_nothing() -> None:
    exchange, funding = exchange_with_a_position()
    funding.settle(MARKETS[PERP], QUIET_RATE, at_ms=1000)
    assert exchange.demo.positions[PERP].funding == Decimal("-0.00375")
    exchange.place(exchange.demo, "Ask", symbol=PERP, price="99", quantity="3")
    exchange.place(exchange.demo, symbol=PERP, price="101", quantity="1")
    assert exchange.demo.positions[PERP].funding == 0


def test_every_hour_is_settled_once_at_the_quiet_rate_and_none_before_its_end() -> None:
    exchange, funding = exchange_with_a_position()

    async def sleep(seconds: float) -> None:
        if len(funding.payments.rows("demo")) == 3:
            raise asyncio.CancelledError
        assert seconds > 0
        # Woken too early at first: a loop's clock and the wall clock differ.
        exchange.now_ms += max(1, int(seconds * 900))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run_hourly(funding, lambda: exchange.now_ms, sleep))
    payments = funding.payments.rows("demo")
    assert [payment.ends_at_ms for payment in payments] == [HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS]
    assert {payment.rate for payment in payments} == {QUIET_RATE}
    assert exchange.now_ms == 3 * HOUR_MS


def test_an_hour_that_is_full_ends_with_the_next_one() -> None:
    assert [next_hour_ms(at_ms) for at_ms in (HOUR_MS - 1, HOUR_MS)] == [HOUR_MS, 2 * HOUR_MS]


def test_the_process_ends_at_once_with_hourly_funding(tmp_path: Path) -> None:
    with started(tmp_path, "--funding", "hourly") as (process, _):
        process.terminate()
        assert process.wait(15) == 0
