"""What fills do to balances, fees and positions."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.accounts import Account
from simulator.errors import Refusal
from tests.unit.simulator.small_exchange import PERP, SPOT, SmallExchange


@pytest.fixture
def exchange() -> SmallExchange:
    return SmallExchange()


def test_spot_fees_are_taken_from_what_is_received(exchange: SmallExchange) -> None:
    before = {name: dict(account.balances) for name, account in exchange.engine.accounts.items()}
    exchange.place(exchange.other, "Ask", "100", "10")
    exchange.place(exchange.demo, "Bid", "100", "10")
    buyer = {asset: exchange.demo.balances[asset] - before["demo"][asset] for asset in ("SOL", "USDC")}
    seller = {asset: exchange.other.balances[asset] - before["other"][asset] for asset in ("SOL", "USDC")}
    # Taker 10 bps of 10 SOL; maker 8 bps of 1000 USDC.
    assert buyer == {"SOL": Decimal("9.99"), "USDC": Decimal(-1000)}
    assert seller == {"SOL": Decimal(-10), "USDC": Decimal("999.2")}
    assert [(fill.fee_asset, fill.maker) for fill in exchange.fills()] == [
        ("SOL", False),
        ("USDC", True),
    ]


def test_a_better_price_than_asked_for_frees_the_difference(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "90")
    before = exchange.demo.balances["USDC"]
    exchange.place(exchange.demo, "Bid", "100")
    assert exchange.demo.balances["USDC"] == before - 90
    assert exchange.demo.locked["USDC"] == 0


def test_a_position_averages_in_realises_out_and_turns_round(exchange: SmallExchange) -> None:
    def trade(side: str, price: str, quantity: str) -> None:
        exchange.place(exchange.other, "Ask" if side == "Bid" else "Bid", price, quantity, symbol=PERP)
        exchange.place(exchange.demo, side, price, quantity, symbol=PERP)

    trade("Bid", "100", "1")
    trade("Bid", "110", "1")
    held = exchange.demo.positions[PERP]
    assert [held.net, held.entry] == [2, 105]
    trade("Ask", "115", "1")
    assert [held.net, held.entry, held.realized] == [1, 105, 10]
    trade("Ask", "95", "3")
    assert [held.net, held.entry, held.realized] == [-2, 95, 0]
    # 10 - 10 realised, less 5 bps of each trade's value.
    value = Decimal(100 + 110 + 115 + 3 * 95)
    assert exchange.demo.balances["USDC"] == Decimal(1_000_000) - value * 5 / 10_000


def test_reduce_only_never_opens_never_turns_and_shrinks_with_the_position(exchange: SmallExchange) -> None:
    def place(account: Account, side: str, price: str, quantity: str, *, reduce_only: bool = False) -> object:
        return exchange.place(account, side, price, quantity, symbol=PERP, reduceOnly=reduce_only)

    with pytest.raises(Refusal, match="not reduced"):
        place(exchange.demo, "Ask", "100", "1", reduce_only=True)
    place(exchange.other, "Ask", "100", "2")
    place(exchange.demo, "Bid", "100", "2")
    with pytest.raises(Refusal, match="not reduced"):
        place(exchange.demo, "Bid", "90", "1", reduce_only=True)

    first = exchange.place(exchange.demo, "Ask", "110", "5", symbol=PERP, reduceOnly=True)
    second = exchange.place(exchange.demo, "Ask", "111", "2", symbol=PERP, reduceOnly=True)
    assert [first.quantity, second.quantity] == [2, 2]
    place(exchange.other, "Bid", "110", "1.5")
    assert (first.remaining, second.remaining) == (Decimal("0.5"), Decimal("0.5"))
    place(exchange.other, "Bid", "111", "10")
    assert exchange.demo.positions[PERP].net == 0
    assert (second.status, second.expiry_reason) == ("Expired", "ReduceOnlyNotReduced")
    assert second.executed == 0


actions = st.lists(
    st.tuples(
        st.sampled_from(["demo", "other"]),
        st.sampled_from(["Bid", "Ask"]),
        st.integers(97, 103),
        st.integers(1, 5),
        st.sampled_from(["GTC", "IOC", "cancel"]),
        st.sampled_from(["RejectTaker", "RejectMaker", "RejectBoth"]),
    ),
    max_size=40,
)


@given(actions)
def test_nothing_is_made_or_lost_and_the_book_never_crosses(
    chosen: list[tuple[str, str, int, int, str, str]],
) -> None:
    exchange = SmallExchange()
    engine = exchange.engine
    before = _totals(exchange)
    for name, side, price, quantity, kind, rule in chosen:
        account = engine.accounts[name]
        if kind == "cancel":
            for order in engine.resting.of_account(account, SPOT)[:1]:
                engine.cancel(order)
        else:
            exchange.place(
                account, side, str(price), str(quantity), timeInForce=kind, selfTradePrevention=rule
            )
        resting = engine.resting.of_symbol(SPOT)
        bids = [order.price for order in resting if order.wanted.buys]
        asks = [order.price for order in resting if not order.wanted.buys]
        assert not bids or not asks or max(bids) < min(asks)
        for owner in engine.accounts.values():
            held = sum(
                (o.price * o.remaining for o in engine.resting.of_account(owner) if o.wanted.buys), Decimal(0)
            )
            assert owner.locked.get("USDC", Decimal(0)) == held
            assert owner.available("USDC") >= 0
    fees = {"SOL": Decimal(0), "USDC": Decimal(0)}
    for fill in exchange.fills():
        fees[fill.fee_asset] += fill.fee
    after = _totals(exchange)
    assert {asset: after[asset] + fees[asset] for asset in fees} == {asset: before[asset] for asset in fees}


def _totals(exchange: SmallExchange) -> dict[str, Decimal]:
    return {
        asset: sum((account.balances[asset] for account in exchange.engine.accounts.values()), Decimal(0))
        for asset in ("SOL", "USDC")
    }
