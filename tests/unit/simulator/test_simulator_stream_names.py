"""Names of streams: what each means, and what is answered to those that mean nothing."""

from __future__ import annotations

import pytest

from simulator.stream_names import Stream, StreamError, every_name, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bookTicker.SOL_USDC", {"kind": "bookTicker", "symbol": "SOL_USDC"}),
        ("depth.SOL_USDC", {"kind": "depth", "symbol": "SOL_USDC"}),
        ("depth.200ms.SOL_USDC", {"kind": "depth", "symbol": "SOL_USDC", "window_ms": 200}),
        (
            "depth.1000ms.AAPL.US_USDC",
            {"kind": "depth", "symbol": "AAPL.US_USDC", "window_ms": 1000},
        ),
        ("depth.AAPL.US_USDC", {"kind": "depth", "symbol": "AAPL.US_USDC"}),
        ("kline.1month.BTC_USDC", {"kind": "kline", "symbol": "BTC_USDC", "interval": "1month"}),
        ("liquidation", {"kind": "liquidation"}),
        ("account.orderUpdate", {"kind": "account.orderUpdate"}),
        (
            "account.positionUpdate.SOL_USDC_PERP",
            {"kind": "account.positionUpdate", "symbol": "SOL_USDC_PERP"},
        ),
        ("account.balanceUpdate", {"kind": "account.balanceUpdate"}),
    ],
)
def test_names_are_taken_apart(name: str, expected: dict[str, object]) -> None:
    assert parse(name) == Stream(name=name, **expected)  # type: ignore[arg-type]
    assert parse(name).private is name.startswith("account.")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", 4006),
        ("bookTicker", 4006),
        ("bookTicker.", 4006),
        ("candle.1m.SOL_USDC", 4006),
        ("kline.7m.SOL_USDC", 4006),
        ("kline.1m", 4006),
        ("account.", 4006),
        ("account.orderNew", 4006),
        ("account.orderUpdate.", 4006),
        ("account.balanceUpdate.SOL_USDC", 4006),
        ("depth.100ms.SOL_USDC", 4008),
        ("depth.99999999999ms.SOL_USDC", 4008),
    ],
)
def test_names_that_mean_nothing_have_their_codes(name: str, code: int) -> None:
    with pytest.raises(StreamError) as caught:
        parse(name)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["trade.NO_SUCH", "markPrice.SOL_USDC", "account.orderUpdate.NO_SUCH"])
def test_what_cannot_say_anything_is_silent(name: str) -> None:
    assert parse(name).silent
    assert name not in every_name()


def test_every_name_that_can_say_something_is_a_name() -> None:
    assert len(every_name()) == len({parse(name) for name in every_name()}) > 100
