"""What holds for the market maker's decisions whatever the market and the parameters."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from market.instrument import Instrument
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.base import Decision
from strategies.market_maker import Params, State, decide
from strategies.reconcile import reconcile
from tests.unit.strategies.market_values import book, instrument, own_order, placed, snapshot

INSTRUMENTS = st.builds(
    instrument,
    tick_size=st.sampled_from(["0.0001", "0.01", "0.05", "0.5", "1"]),
    step_size=st.sampled_from(["0.001", "0.01", "0.1"]),
    min_quantity=st.sampled_from(["0.1", "0.5", "1"]),
    max_quantity=st.sampled_from([None, "2"]),
)


def amounts(most: int) -> st.SearchStrategy[D]:
    return st.decimals(min_value=0, max_value=most, places=3)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    of: Instrument = draw(INSTRUMENTS)
    bid_ticks = draw(st.integers(1, 5_000))
    spread_ticks = draw(st.integers(1, 40))
    bid, ask = bid_ticks * of.tick_size, (bid_ticks + spread_ticks) * of.tick_size
    own = []
    base_locked = quote_locked = D(0)
    # The book is others', so own orders may stand before it.
    inside = draw(st.integers(0, (spread_ticks - 1) // 2))
    for level in range(draw(st.integers(0, 3))):
        quantity = draw(st.integers(1, 20)) * of.step_size
        sell = own_order(Side.SELL, ask + (level - inside) * of.tick_size, quantity, level=level)
        own.append(sell)
        base_locked += quantity
        price = bid + (inside - level) * of.tick_size
        if price > 0:
            buy = own_order(Side.BUY, price, quantity, level=level)
            own.append(buy)
            quote_locked += quantity * price
    return snapshot(
        of=of,
        order_book=book(bid, ask),
        base=draw(amounts(50)),
        quote=draw(amounts(20_000)),
        base_locked=base_locked,
        quote_locked=quote_locked,
        open_orders=own,
    )


@st.composite
def parameters(draw: st.DrawFn) -> Params:
    given: dict[str, Any] = {
        "spread": draw(st.sampled_from(["0.001", "0.05", "0.2", "3", "90"])),
        "quantity": draw(st.sampled_from([None, "1", "1.2345", "7"])),
        "max_orders": draw(st.integers(1, 12)),
        "rounding": draw(st.sampled_from(["safe", "nearest"])),
        "enable_rebalance": draw(st.booleans()),
        "base_asset_target": draw(st.sampled_from([0, 30, 100])),
        "inventory_skew": draw(st.sampled_from(["0", "0.5", "1"])),
        "size_skew": draw(st.sampled_from(["0", "0.5", "1"])),
        "min_spread_bps": draw(st.sampled_from(["0", "7", "300"])),
        "hanging_orders": draw(st.booleans()),
    }
    if draw(st.booleans()):
        given |= {"layer_spacing": "bps", "layer_step_bps": draw(st.sampled_from(["0.1", "5", "900"]))}
    return Params.model_validate(given)


def remembered(of: Snapshot) -> State:
    """Return a state in which every second own order hangs."""
    return State(hanging=tuple(own.order.order_id for own in of.open_orders[::2]))


def of_side(decision: Decision[State], side: Side) -> list[Quote]:
    return [quote for quote in decision.quotes if quote.side is side]


@given(of=snapshots(), params=parameters())
def test_prices_are_on_tick_and_quantities_on_step_and_inside_the_filter(
    of: Snapshot, params: Params
) -> None:
    decision = decide(of, remembered(of), params)
    orders: list[Any] = [*decision.quotes, *([decision.taker] if decision.taker else [])]
    for order in orders:
        price = order.price if isinstance(order, Quote) else order.limit_price
        assert price > 0
        assert price % of.instrument.tick_size == 0
        assert order.quantity % of.instrument.step_size == 0
        assert order.quantity >= of.instrument.min_quantity
        assert of.instrument.max_quantity is None or order.quantity <= of.instrument.max_quantity


@given(of=snapshots(), params=parameters())
def test_no_quote_would_trade_with_the_book_or_with_another_quote(of: Snapshot, params: Params) -> None:
    decision = decide(of, remembered(of), params)
    bids = [quote.price for quote in of_side(decision, Side.BUY)]
    asks = [quote.price for quote in of_side(decision, Side.SELL)]
    assert of.book.best_bid is not None
    assert of.book.best_ask is not None
    assert all(price < of.book.best_ask for price in bids)
    assert all(price > of.book.best_bid for price in asks)
    if bids and asks:
        assert max(bids) < min(asks)


@given(of=snapshots(), params=parameters())
def test_no_two_quotes_share_a_price_or_a_level(of: Snapshot, params: Params) -> None:
    decision = decide(of, remembered(of), params)
    for side in Side:
        quotes = of_side(decision, side)
        assert len({quote.price for quote in quotes}) == len(quotes)
        assert len({quote.level for quote in quotes}) == len(quotes)


@given(of=snapshots(), params=parameters())
def test_quotes_and_rebalance_together_never_exceed_the_funds(of: Snapshot, params: Params) -> None:
    decision = decide(of, remembered(of), params)
    base = sum(quote.quantity for quote in of_side(decision, Side.SELL))
    cash = sum(quote.quantity * quote.price for quote in of_side(decision, Side.BUY))
    if decision.taker is not None and decision.taker.side is Side.SELL:
        base += decision.taker.quantity
    elif decision.taker is not None:
        cash += decision.taker.quantity * decision.taker.limit_price
    # In these snapshots nobody but this instance holds anything.
    assert base <= of.balances["SOL"].total
    assert cash <= of.balances["USDC"].total


@given(of=snapshots(), params=parameters())
def test_a_rebalance_never_meets_an_own_order_that_is_kept(of: Snapshot, params: Params) -> None:
    decision = decide(of, remembered(of), params)
    plan = reconcile(
        decision.quotes, of.open_orders, tolerance_bps=params.refresh_tolerance_bps, instrument=of.instrument
    )
    if decision.taker is not None:
        opposite = decision.taker.side.opposite
        assert opposite not in {own.order.side for own in plan.kept}
        assert opposite not in {quote.side for quote in plan.places}


@given(of=snapshots(), params=parameters())
def test_the_same_snapshot_gives_the_same_decision(of: Snapshot, params: Params) -> None:
    assert decide(of, remembered(of), params) == decide(of, remembered(of), params)


@given(params=parameters(), mid_ticks=st.integers(2_000, 5_000))
def test_an_unchanged_market_needs_no_second_order(params: Params, mid_ticks: int) -> None:
    params = params.model_copy(update={"enable_rebalance": False})
    order_book = book(D(mid_ticks - 3) / 100, D(mid_ticks + 3) / 100)
    first = decide(snapshot(order_book=order_book, base="100", quote="9000"), State(), params)
    resting = placed(first.quotes)
    base_held = sum((quote.quantity for quote in of_side(first, Side.SELL)), D(0))
    cash_held = sum((quote.quantity * quote.price for quote in of_side(first, Side.BUY)), D(0))
    again = snapshot(
        order_book=order_book,
        base=100 - base_held,
        base_locked=base_held,
        quote=9000 - cash_held,
        quote_locked=cash_held,
        open_orders=resting,
    )
    second = decide(again, first.state, params)
    plan = reconcile(
        second.quotes, resting, tolerance_bps=params.refresh_tolerance_bps, instrument=again.instrument
    )
    assert plan.changes_nothing
