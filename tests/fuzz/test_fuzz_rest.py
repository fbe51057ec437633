"""Whatever a REST answer looks like: a value that makes sense, or `UnreadableAnswer`; never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.backpack import parse, parse_market, refusals
from exchanges.backpack.answers import is_last_page
from exchanges.backpack.client import Response
from exchanges.backpack.rows import Row, UnreadableAnswer, load_json
from exchanges.errors import ExchangeError, Refused
from tests.fuzz import wire
from tests.fuzz.fuzzing import broken, fuzz, nasty_values, same_meaning, spoiled, written
from tests.fuzz.sense import assert_makes_sense

PARSERS: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "market": (wire.MARKET, parse_market.instrument),
    "depth": (wire.DEPTH, lambda body: parse_market.order_book(wire.SYMBOL, body)),
    "last update": (wire.DEPTH, parse_market.last_update_id),
    "orders": ([wire.ORDER, wire.OLD_ORDER], parse.orders),
    "balances": (wire.BALANCES, parse.balances),
    "position": ([wire.POSITION], lambda body: parse.position(wire.SYMBOL, body)),
    "positions": ([wire.POSITION], parse.positions),
    "account": (wire.ACCOUNT, parse.account_terms),
    "fills": ([wire.FILL, wire.FILL | {"tradeId": None}], parse.fills),
    "funding": ([wire.FUNDING], parse.funding_payments),
    "ended order": ([wire.OLD_ORDER], lambda body: parse.ended_order(wire.SYMBOL, "4228978331", body)),
    "time": (1793500000123, parse_market.server_time_ms),
}


@pytest.mark.parametrize("name", PARSERS)
@fuzz(60)
@given(data=st.data())
def test_an_answer_is_read_or_unreadable(name: str, data: st.DataObject) -> None:
    document, parser = PARSERS[name]
    body = data.draw(spoiled(document))
    try:
        value = parser(body)
    except (UnreadableAnswer, Refused) as error:
        assert str(error).encode(), "the message can be logged and stored"
        assert len(str(error)) < 1000
    else:
        assert_makes_sense(value)


@pytest.mark.parametrize("name", PARSERS)
@fuzz(20)
@given(data=st.data())
def test_the_order_of_keys_and_unknown_fields_change_nothing(name: str, data: st.DataObject) -> None:
    document, parser = PARSERS[name]
    again = data.draw(same_meaning(document))
    if name == "balances":
        again = {asset: again[asset] for asset in again if asset in document}
    assert parser(written(again).encode()) == parser(written(document).encode())


@fuzz(100)
@given(status=st.sampled_from((400, 401, 403, 404, 418, 451)), body=spoiled(wire.REFUSAL))
def test_a_refusal_is_an_error_of_ours_whatever_its_body(status: int, body: bytes) -> None:
    error = refusals.refusal(status, body)
    assert isinstance(error, Refused)
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    refusals.is_doubtful(body)


@fuzz(60)
@given(document=broken({"operation": "Err", **wire.REFUSAL}))
def test_one_result_of_a_batch_is_an_error_of_ours_or_unreadable(document: Any) -> None:
    try:
        error = refusals.batch_item_error(Row(load_json(written(document).encode("utf-8", "surrogatepass"))))
    except UnreadableAnswer:
        return
    assert error is None or isinstance(error, ExchangeError)


@fuzz(60)
@given(body=spoiled(wire.OLD_ORDER))
def test_the_answer_to_a_cancel_never_raises(body: bytes) -> None:
    executed = parse.executed_at_end("4228978331", body)
    assert executed is None or executed >= 0


@fuzz(60)
@given(header=nasty_values.map(str), seen=st.integers(0, 2000), rows=st.integers(0, 1000))
def test_headers_are_read_or_passed_over(header: str, seen: int, rows: int) -> None:
    answer = Response(status=200, body=b"", headers={"x-total": header})
    assert is_last_page(answer, seen=seen, rows=rows, page_rows=1000) in {True, False}
    assert 0 <= refusals.rate_limited(header).retry_after_s <= refusals.LONGEST_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("name", "body"),
    [
        # decimal.InvalidOperation, which is no ValueError, in every parser.
        ("market", b"1e99999999999999999999"),
        # ValueError: more digits than Python makes an integer of.
        ("time", b"1" * 5000),
        ("last update", b'{"asks":[],"bids":[],"lastUpdateId":"' + b"1" * 5000 + b'","timestamp":1}'),
        # Numbers that arithmetic, or printing them, breaks on later.
        ("balances", b'{"USDC":{"available":"1e999999","locked":"0"}}'),
        ("balances", b'{"USDC":{"available":"1_000","locked":"0"}}'),
        # Half a character cannot be stored in Redis: not even the error that shows it.
        ("balances", b'{"\\ud800":{"available":"1","locked":"0"}}'),
        ("balances", b'{"\xed\xa0\x80":{"available":"1","locked":"0"}}'),
        # Division by zero at the first rounding.
        (
            "market",
            written(
                wire.MARKET | {"filters": wire.MARKET["filters"] | {"price": {"tickSize": "0"}}}
            ).encode(),
        ),
        # A book below zero, a fill at no price.
        ("depth", b'{"asks":[["-1","1"]],"bids":[],"lastUpdateId":1,"timestamp":1}'),
        ("depth", b'{"asks":[["1","-1"]],"bids":[],"lastUpdateId":1,"timestamp":1}'),
        ("fills", written([wire.FILL | {"price": "0"}]).encode()),
        # Two ids in one: both would be cancelled.
        ("orders", written([wire.ORDER | {"id": "1,2"}]).encode()),
        ("orders", written([wire.ORDER | {"id": ""}]).encode()),
        # More executed than there was: what remains would be below zero.
        ("orders", written([wire.ORDER | {"executedQuantity": "5"}]).encode()),
        # Fills of the year 9999: nothing before would be asked for again.
        ("fills", written([wire.FILL | {"timestamp": "9999-12-31T00:00:00"}]).encode()),
        # Nanoseconds, or seconds, that pass for ms.
        ("time", b"1793500000123000"),
        ("time", b"1793500000"),
    ],
)
def test_answers_that_once_came_through(name: str, body: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        PARSERS[name][1](body)
