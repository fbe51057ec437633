"""What each stream says, over real loopback sockets: shapes as documented, signatures, subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from simulator.stream_connection import StreamOptions
from tests.unit.simulator.loopback import BID, Client, eventually, now_ms, running
from tests.unit.simulator.stream_client import DEMO_SEED, OTHER_SEED, listening, signature_of

SPOT = "SOL_USDC"
PERP = "SOL_USDC_PERP"

#: Types by field: the documented examples.
ORDER = {
    "e": str, "E": int, "T": int, "O": str, "s": str, "S": str, "o": str, "f": str, "q": str, "X": str,
    "i": str, "V": str, "r": bool, "t": type(None), "z": str, "Z": str,
}  # fmt: skip
LIMIT = {"p": str, "y": bool}
FILL = {"t": int, "l": str, "L": str, "m": bool, "n": str, "N": str, "y": bool}
POSITION = {
    "E": int, "T": int, "s": str, "i": int, "q": str, "Q": str, "b": str, "B": str, "M": str, "n": str,
    "p": str, "P": str, "f": str, "m": str, "l": str,
}  # fmt: skip
BALANCE = {"e": str, "E": int, "T": int, "a": str, "A": str, "L": str, "S": str}
TRADE = {"e": str, "E": int, "T": int, "s": str, "p": str, "q": str, "b": str, "a": str, "t": int, "m": bool}
TICKER = {"e": str, "E": int, "s": str, "o": str, "c": str, "h": str, "l": str, "v": str, "V": str, "n": int}
MARK = {"e": str, "E": int, "T": int, "s": str, "p": str, "i": str, "f": str, "n": int}
KLINE = {
    "e": str, "E": int, "s": str, "t": str, "T": str, "o": str, "c": str, "h": str, "l": str, "v": str,
    "n": int, "X": bool,
}  # fmt: skip
BOOK_TICKER = {"e": str, "E": int, "T": int, "s": str, "a": str, "A": str, "b": str, "B": str, "u": int}
DEPTH = {"e": str, "E": int, "T": int, "s": str, "U": int, "u": int, "a": list, "b": list}


@pytest.fixture
def client() -> Iterator[Client]:
    with running(StreamOptions(figures_s=0.05)) as client:
        yield client


def shape(data: dict[str, Any]) -> dict[str, type]:
    for name in ("E", "T"):
        if isinstance(data.get(name), int):
            assert abs(data[name] / 1000 - now_ms()) < 60_000, f"{name} is not in µs"
    return {name: type(value) for name, value in data.items()}


def events(updates: list[dict[str, Any]]) -> list[str]:
    return [update["e"] for update in updates]


def test_an_order_is_told_from_its_acceptance_to_its_cancellation(client: Client) -> None:
    with listening(client, "account.orderUpdate", f"account.orderUpdate.{SPOT}") as stream:
        order_id = client.place(clientId=7, postOnly=True).json()["id"]
        client.cancel(orderId=order_id)
        accepted, cancelled = stream.until("account.orderUpdate", 2)
        assert stream.until(f"account.orderUpdate.{SPOT}", 2) == [accepted, cancelled]
        assert shape(accepted) == shape(cancelled) == ORDER | LIMIT | {"c": int}
        assert (accepted["e"], accepted["X"]) == ("orderAccepted", "New")
        assert (cancelled["e"], cancelled["X"]) == ("orderCancelled", "Cancelled")
        assert accepted | {"E": 0, "T": 0} == {
            "e": "orderAccepted", "E": 0, "T": 0, "O": "USER", "s": SPOT, "S": "Bid", "o": "LIMIT",
            "f": "GTC", "q": "1.00", "p": "140.00", "X": "New", "i": order_id, "c": 7, "V": "RejectTaker",
            "r": False, "y": True, "t": None, "z": "0", "Z": "0",
        }  # fmt: skip


def test_a_fill_has_the_numbers_of_the_fill_history_and_of_the_public_trade(client: Client) -> None:
    with listening(client, "account.orderUpdate", f"trade.{SPOT}") as stream:
        order_id = client.place(quantity="2").json()["id"]
        client.post("/sim/trade", {"symbol": SPOT, "side": "Ask", "price": "140", "quantity": "0.5"})
        client.post("/sim/market", {"symbol": SPOT, "price": "130"})
        _, part, rest = stream.until("account.orderUpdate", 3)
        assert shape(part) == ORDER | LIMIT | FILL
        assert [f["X"] for f in (part, rest)] == ["PartiallyFilled", "Filled"]
        assert [(f["l"], f["z"], f["L"]) for f in (part, rest)] == [
            ("0.50", "0.50", "140.00"),
            ("1.50", "2.00", "140.00"),
        ]
        history = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll").json()
        assert [f["t"] for f in (rest, part)] == [row["tradeId"] for row in history]
        assert [(f["n"], f["N"], f["m"]) for f in (rest, part)] == [
            (row["fee"], row["feeSymbol"], row["isMaker"]) for row in history
        ]
        trades = stream.until(f"trade.{SPOT}", 2)
        assert shape(trades[0]) == TRADE
        assert [trade["t"] for trade in trades] == [part["t"], rest["t"]]
        assert {trade["b"] for trade in trades} == {order_id}
        assert all(trade["m"] is True and int(trade["a"]) > 10**12 for trade in trades)


def test_a_trade_between_accounts_names_both_orders(client: Client) -> None:
    with listening(client, f"trade.{SPOT}") as stream:
        maker = client.place(side="Ask", price="149.99").json()["id"]
        taker = client.post("/sim/orders", {**BID, "account": "other", "price": "149.99"}).json()["id"]
        (trade,) = stream.until(f"trade.{SPOT}", 1)
        assert (trade["b"], trade["a"], trade["m"]) == (taker, maker, False)


def test_market_orders_have_no_price_and_the_quote_quantity_they_were_given(client: Client) -> None:
    with listening(client, "account.orderUpdate") as stream:
        market = {"symbol": SPOT, "side": "Bid", "orderType": "Market", "quoteQuantity": "15"}
        client.call("POST", "/api/v1/order", "orderExecute", market)
        accepted, filled = stream.until("account.orderUpdate", 2)
        assert shape(accepted) == ORDER | {"Q": str}
        assert shape(filled) == ORDER | {"Q": str} | FILL
        assert (accepted["o"], accepted["Q"], filled["N"]) == ("MARKET", "15", "SOL")


def test_what_expires_says_why_and_what_shrinks_is_modified(client: Client) -> None:
    with listening(client, "account.orderUpdate") as stream:
        client.place(price="145", timeInForce="IOC")
        _, expired = stream.until("account.orderUpdate", 2)
        assert shape(expired) == ORDER | LIMIT | {"R": str}
        assert (expired["e"], expired["X"], expired["R"]) == ("orderExpired", "Expired", "ImmediateOrCancel")
        client.place(symbol=PERP, price="160", quantity="2", timeInForce="IOC")
        client.place(symbol=PERP, side="Ask", price="155", quantity="2", reduceOnly=True)
        client.place(symbol=PERP, side="Ask", price="140", quantity="1", timeInForce="IOC")
        modified = stream.until("account.orderUpdate", 8)[-1]
        assert shape(modified) == ORDER | LIMIT
        assert (modified["e"], modified["q"], modified["r"]) == ("orderModified", "1.00", True)


def test_a_position_is_opened_adjusted_and_closed(client: Client) -> None:
    with listening(client, "account.positionUpdate", f"account.positionUpdate.{PERP}") as stream:
        for side, price, quantity in (("Bid", "160", "2"), ("Ask", "140", "0.5"), ("Ask", "140", "1.5")):
            client.place(symbol=PERP, side=side, price=price, quantity=quantity, timeInForce="IOC")
        updates = stream.until("account.positionUpdate", 3)
        assert stream.until(f"account.positionUpdate.{PERP}", 3) == updates
        assert events(updates) == ["positionOpened", "positionAdjusted", "positionClosed"]
        assert [shape(update) for update in updates] == [POSITION | {"e": str}] * 3
        assert [(u["q"], u["Q"]) for u in updates] == [("2.00", "2.00"), ("1.50", "1.50"), ("0.00", "0.00")]


def test_a_subscription_shows_the_open_positions_without_an_event(client: Client) -> None:
    client.place(symbol=PERP, side="Ask", price="140", quantity="1.25", timeInForce="IOC")
    client.place(symbol="ETH_USDC_PERP", price="3000", quantity="0.5", timeInForce="IOC")
    with listening(client, "account.positionUpdate", f"account.positionUpdate.{PERP}") as stream:
        sol, eth = stream.until("account.positionUpdate", 2)
        assert stream.until(f"account.positionUpdate.{PERP}", 1)[0]["q"] == "-1.25"
        assert shape(sol) == shape(eth) == POSITION
        shown = client.call("GET", "/api/v1/position", "positionQuery").json()
        assert [(s["s"], Decimal(s["q"]), s["b"]) for s in (sol, eth)] == [
            (row["symbol"], Decimal(row["netQuantity"]), row["entryPrice"]) for row in shown
        ]
    with listening(client, "account.positionUpdate", "account.orderUpdate", seed=OTHER_SEED) as stream:
        client.post("/sim/orders", {**BID, "account": "other"})
        stream.until("account.orderUpdate", 1)
        assert stream.of("account.positionUpdate") == []


def test_balances_are_absolute_and_told_once_a_command(client: Client) -> None:
    with listening(client, "account.balanceUpdate") as stream:
        client.place(quantity="2")
        (held,) = stream.until("account.balanceUpdate", 1)
        assert shape(held) == BALANCE
        assert (held["a"], held["A"], held["L"], held["S"]) == ("USDC", "999720", "280", "0")
        client.post("/sim/trade", {"symbol": SPOT, "side": "Ask", "price": "139", "quantity": "5"})
        _, usdc, sol = stream.until("account.balanceUpdate", 3)
        assert [(usdc["a"], usdc["A"], usdc["L"]), (sol["a"], sol["A"])] == [
            ("USDC", "999720", "0"),
            ("SOL", "2001.9984"),
        ]


def test_tickers_marks_and_candles_come_by_the_clock(client: Client) -> None:
    names = (f"ticker.{SPOT}", f"markPrice.{PERP}", f"kline.1m.{SPOT}", f"openInterest.{PERP}")
    with listening(client, *names) as stream:
        stream.until(f"markPrice.{PERP}", 2)
        # Nothing has been traded.
        assert stream.of(f"ticker.{SPOT}") == stream.of(f"kline.1m.{SPOT}") == []
        client.post("/sim/trade", {"symbol": SPOT, "side": "Ask", "price": "149.9", "quantity": "0.5"})
        ticker = stream.until(f"ticker.{SPOT}", 2)[-1]
        assert shape(ticker) == TICKER
        assert (ticker["o"], ticker["c"], ticker["v"], ticker["n"]) == ("149.9", "149.9", "0.5", 1)
        mark = stream.of(f"markPrice.{PERP}")[-1]
        assert shape(mark) == MARK
        assert (mark["p"], mark["f"]) == ("150", "0.0000125")
        assert 0 < mark["n"] - mark["E"] // 1000 <= 3_600_000
        # At the end of the minute it is told once more.
        candle = stream.until(f"kline.1m.{SPOT}", 1)[0]
        assert shape(candle) == KLINE
        assert (candle["c"], candle["n"], len(candle["t"])) == ("149.9", 1, 19)
        assert len(stream.of(f"openInterest.{PERP}")) == 1


def test_a_candle_is_told_a_last_time_when_it_closes(client: Client) -> None:
    name = f"kline.1s.{SPOT}"
    with listening(client, name) as stream:
        client.post("/sim/trade", {"symbol": SPOT, "side": "Ask", "price": "149.9", "quantity": "0.5"})
        eventually(lambda: any(candle["X"] for candle in stream.of(name)), "no candle has closed")
        # Where it was told before, that was the same candle.
        closed = stream.of(name)[-1]
        assert shape(closed) == KLINE
        assert all(told | {"E": 0, "X": True} == closed | {"E": 0} for told in stream.of(name))


def test_the_touch_is_told_when_it_changes(client: Client) -> None:
    with listening(client, f"bookTicker.{SPOT}", f"depth.{SPOT}") as stream:
        client.place(price="140")
        client.place(price="150", postOnly=True)
        depth = stream.until(f"depth.{SPOT}", 2)
        (touch,) = stream.until(f"bookTicker.{SPOT}", 1)
        assert shape(touch) == BOOK_TICKER
        assert [shape(change) for change in depth] == [DEPTH] * 2
        assert depth[0]["b"] == [["140.00", "1.00"]]
        assert (touch["b"], touch["B"], touch["u"]) == ("150.00", "1.00", depth[1]["u"])


@pytest.mark.parametrize(
    ("frame", "code", "message"),
    [
        ("not json", 4002, "Parse error"),
        ("[" * 100_000, 4002, "Parse error"),
        ([], 4002, "Parse error"),
        ({"method": "LIST"}, 4002, "Parse error"),
        ({"method": "SUBSCRIBE", "params": "depth.SOL_USDC"}, 4002, "Parse error"),
        ({"method": "SUBSCRIBE", "params": [1]}, 4002, "Parse error"),
        ({"method": "SUBSCRIBE", "params": ["no.such"]}, 4006, "Invalid stream"),
        ({"method": "SUBSCRIBE", "params": ["depth.100ms.SOL_USDC"]}, 4008, "Invalid depth window"),
        ({"method": "UNSUBSCRIBE", "params": ["no.such"]}, 4006, "Invalid stream"),
    ],
)
def test_a_bad_frame_is_answered_and_the_socket_stays(
    client: Client, frame: Any, code: int, message: str
) -> None:
    with listening(client) as stream:
        stream.send(frame)
        assert stream.errors(1) == [{"id": None, "error": {"code": code, "message": message}}]
        stream.subscribe(f"trade.{SPOT}")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "text",
        [],
        [1, 2, 3, 4],
        # Made when they are sent: one that is out of date is refused, whatever else is wrong with it.
        lambda: signature_of(b"\x77" * 32),
        lambda: signature_of()[:3],
        lambda: [*signature_of()[:2], str(now_ms() + 1), "5000"],
        lambda: signature_of(at_ms=now_ms() - 100_000),
        lambda: signature_of(window_ms=60_001),
        lambda: signature_of(instruction="orderQuery"),
        ["é", "é", "é", "é"],
    ],
)
def test_a_private_stream_needs_a_signature_that_fits(client: Client, signature: Any) -> None:
    with listening(client) as stream:
        stream.send(
            {
                "method": "SUBSCRIBE",
                "params": ["account.orderUpdate", "trade.SOL_USDC"],
                "signature": signature() if callable(signature) else signature,
            }
        )
        (error,) = stream.errors(1)
        assert error["error"]["code"] == 4004
        # The public stream of the same frame needs none.
        eventually(lambda: stream.connections()[0]["streams"] == ["trade.SOL_USDC"], "not subscribed")
        client.place(price="160", timeInForce="IOC")
        stream.until("trade.SOL_USDC", 1)
        assert stream.of("account.orderUpdate") == []


def test_nobody_hears_of_the_orders_of_others(client: Client) -> None:
    with (
        listening(client, "account.orderUpdate") as demo,
        listening(client, "account.orderUpdate", seed=OTHER_SEED) as other,
    ):
        mine = client.place().json()["id"]
        theirs = client.post("/sim/orders", {**BID, "account": "other"}).json()["id"]
        assert [update["i"] for update in demo.until("account.orderUpdate", 1)] == [mine]
        assert [update["i"] for update in other.until("account.orderUpdate", 1)] == [theirs]


def test_who_leaves_takes_nobody_elses_streams_along(client: Client) -> None:
    with listening(client, "account.orderUpdate") as stays:
        for seed in (DEMO_SEED, OTHER_SEED):
            with listening(client, "account.orderUpdate", f"account.orderUpdate.{SPOT}", seed=seed):
                pass
        eventually(lambda: len(stays.connections()) == 1, "not forgotten")
        client.place()
        stays.until("account.orderUpdate", 1)


def test_a_closed_position_is_not_shown_and_an_open_one_is_shown_once(client: Client) -> None:
    for symbol, side, price in (
        (PERP, "Bid", "160"),
        (PERP, "Ask", "140"),
        ("BTC_USDC_PERP", "Bid", "61000"),
    ):
        client.place(symbol=symbol, side=side, price=price, timeInForce="IOC")
    with listening(client, "account.positionUpdate") as stream:
        frame = {"method": "SUBSCRIBE", "params": ["account.positionUpdate"], "signature": signature_of()}
        stream.send(frame)
        stream.send("no json")
        stream.errors(1)
        assert [shown["s"] for shown in stream.of("account.positionUpdate")] == ["BTC_USDC_PERP"]


def test_subscribing_twice_delivers_once_and_unsubscribing_ends_it(client: Client) -> None:
    names = ["account.orderUpdate", f"trade.{SPOT}", f"depth.{SPOT}"]
    with listening(client, *names, path="/ws") as stream:
        frame = {"method": "SUBSCRIBE", "params": names, "signature": signature_of(), "id": 3}
        stream.send(frame)
        stream.send({"method": "SUBSCRIBE", "params": ["trade.NO_SUCH", "no.such"]})
        stream.errors(1)
        client.place(price="160", timeInForce="IOC")
        client.place(price="140")
        stream.until(f"depth.{SPOT}", 1)
        assert events(stream.until("account.orderUpdate", 3)) == [
            "orderAccepted",
            "orderFill",
            "orderAccepted",
        ]
        assert len(stream.of(f"trade.{SPOT}")) == 1
        stream.send({"method": "UNSUBSCRIBE", "params": names[:2]})
        eventually(lambda: stream.connections()[0]["streams"] == names[2:], "still subscribed")
        client.place(price="160", timeInForce="IOC")
        client.place(price="141")
        stream.until(f"depth.{SPOT}", 2)
        assert len(stream.of("account.orderUpdate")) == 3
        assert len(stream.of(f"trade.{SPOT}")) == 1


def test_success_is_not_acknowledged(client: Client) -> None:
    with listening(client, "account.orderUpdate", f"trade.{SPOT}") as stream:
        stream.send("no json")
        stream.errors(1)
        assert len(stream.frames) == 1


def test_a_plain_request_for_the_root_is_unknown(client: Client) -> None:
    assert (client.get("/").status_code, client.get("/").text) == (404, "404 not found")


def test_liquidations_name_their_origin(client: Client) -> None:
    client.place(symbol=PERP, side="Bid", price="160", quantity="2", timeInForce="IOC")
    with listening(client, "account.orderUpdate", seed=DEMO_SEED) as stream:
        client.post("/sim/liquidate", {"account": "demo", "symbol": PERP, "quantity": "1"})
        assert {update["O"] for update in stream.until("account.orderUpdate", 2)} == {"LIQUIDATION_AUTOCLOSE"}


def test_the_journal_has_the_time_of_a_fill_in_microseconds(client: Client) -> None:
    with listening(client, "account.orderUpdate") as stream:
        client.place(price="160", timeInForce="IOC")
        (_, filled) = stream.until("account.orderUpdate", 2)
        (entry,) = client.journal("fill")
        assert entry["at_ms"] == entry["at_us"] // 1000
        assert 0 <= filled["E"] - entry["at_us"] < 30_000_000
        assert stream.arrived_ns[-1] // 1000 >= entry["at_us"]


def test_many_streams_fit_into_one_frame(client: Client) -> None:
    names = [f"kline.{interval}.{SPOT}" for interval in ("1m", "3m", "5m", "15m", "1h", "1d")]
    names += [f"{kind}.{symbol}" for kind in ("trade", "depth", "bookTicker") for symbol in (SPOT, PERP)]
    with listening(client, *names) as stream:
        assert len(stream.connections()[0]["streams"]) == len(names)
