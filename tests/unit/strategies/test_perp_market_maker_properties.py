"""What holds for the perpetual market maker whatever the market, the parameters and the fills."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from market.instrument import Instrument
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.base import Decision, TakerOrder
from strategies.hanging import Watched
from strategies.perp_maker_params import Params
from strategies.perp_market_maker import State, decide, unwind
from strategies.perp_protection import Cause, Closing
from strategies.reconcile import reconcile
from tests.unit.strategies.maker_exchange import Exchange
from tests.unit.strategies.maker_values import TAKER, fill, perp_instrument, perp_snapshot, position
from tests.unit.strategies.market_values import NOW_MS, book, own_order, placed

INSTRUMENTS = st.builds(
    perp_instrument,
    tick_size=st.sampled_from(["0.0001", "0.01", "0.05", "1"]),
    step_size=st.sampled_from(["0.001", "0.01", "0.1"]),
    min_quantity=st.sampled_from(["0.1", "0.5"]),
    max_quantity=st.sampled_from([None, "2"]),
)


@st.composite
def parameters(draw: st.DrawFn) -> Params:
    given: dict[str, Any] = {
        "spread": draw(st.sampled_from(["0.001", "0.05", "0.2", "3", "90"])),
        "quantity": draw(st.sampled_from([None, "1", "1.2345"])),
        "max_orders": draw(st.integers(1, 8)),
        "rounding": draw(st.sampled_from(["safe", "nearest"])),
        "max_position": draw(st.sampled_from(["0.7", "2", "5", "12.34"])),
        "target_position": draw(st.sampled_from([None, "0", "1", "100"])),
        "inventory_skew": draw(st.sampled_from(["0", "0.002", "0.5", "1"])),
        "skew_unit": draw(st.sampled_from(["half_spread", "price"])),
        "size_skew": draw(st.sampled_from(["0", "0.5", "1"])),
        "min_spread_bps": draw(st.sampled_from(["0", "7", "300"])),
        "hanging_orders": draw(st.booleans()),
        "filled_order_delay_s": draw(st.sampled_from(["0", "2"])),
        "stop_loss": draw(st.sampled_from([None, "3"])),
        "take_profit": draw(st.sampled_from([None, "3"])),
        "after_stop_loss": draw(st.sampled_from(["cooldown", "stop", "continue"])),
        "loss_cooldown_s": "3",
        "loss_cooldown_trigger": draw(st.sampled_from([None, "1"])),
        "moving_band_percent": draw(st.sampled_from([None, "1"])),
    }
    if draw(st.booleans()):
        given |= {"layer_spacing": "bps", "layer_step_bps": draw(st.sampled_from(["0.1", "5", "900"]))}
    return Params.model_validate(given)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    of: Instrument = draw(INSTRUMENTS)
    bid_ticks, spread_ticks = draw(st.integers(1, 5_000)), draw(st.integers(1, 40))
    bid, ask = bid_ticks * of.tick_size, (bid_ticks + spread_ticks) * of.tick_size
    own = []
    # The book is others', so own orders may stand before it.
    inside = draw(st.integers(0, (spread_ticks - 1) // 2))
    for level in range(draw(st.integers(0, 3))):
        quantity = draw(st.integers(1, 2000)) * of.step_size
        own.append(own_order(Side.SELL, ask + (level - inside) * of.tick_size, quantity, level=level))
        if bid + (inside - level) * of.tick_size > 0:
            price = bid + (inside - level) * of.tick_size
            own.append(own_order(Side.BUY, price, quantity, level=level))
    net = draw(st.integers(-2000, 2000)) * of.step_size
    own_nets: list[D] = [D(0), net, net + of.step_size, net / 2, -net]
    lag = draw(st.sampled_from([0, 0, 3, -3])) * of.step_size
    return perp_snapshot(
        position(net, entry=(bid + ask) / 2, unrealized=draw(st.sampled_from([0, -5, 5]))),
        of=of,
        order_book=book(bid, ask),
        open_orders=own,
        own_net=draw(st.sampled_from(own_nets)),
        fills=[fill(each.order.order_id, each.order.side) for each in own if draw(st.booleans())],
        realized=draw(st.sampled_from([0, -2])),
        unsettled=draw(st.sampled_from([[], [TAKER], [(1, 0)]])),
        is_exclusive=draw(st.booleans()),
        bounds=(min(net, net + lag), max(net, net + lag)),
    )


@st.composite
def states(draw: st.DrawFn, of: Snapshot) -> State:
    hung = [own.order.order_id for own in of.open_orders if draw(st.booleans())]
    return State(
        last_bought_at_ms=draw(st.sampled_from([None, NOW_MS - 1000])),
        cooldown_since_ms=draw(st.sampled_from([None, None, NOW_MS - 1000])),
        closing=draw(st.sampled_from([None, None, Closing(cause=Cause.STOP_LOSS, unrealized=D("-3.10"))])),
        watched=tuple(
            Watched(
                order_id=own.order.order_id, side=own.order.side, level=own.level, quantity=own.order.quantity
            )
            for own in of.open_orders
        ),
        hanging=tuple(hung),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Snapshot, State, Params]:
    of = draw(snapshots())
    return of, draw(states(of)), draw(parameters())


def of_side(decision: Decision[State], side: Side) -> list[Quote]:
    return [quote for quote in decision.quotes if quote.side is side]


@given(case=cases())
def test_prices_are_on_tick_and_quantities_on_step_and_inside_the_filter(
    case: tuple[Snapshot, State, Params],
) -> None:
    of, state, params = case
    decision = decide(of, state, params)
    orders: list[Quote | TakerOrder] = [*decision.quotes, *([decision.taker] if decision.taker else [])]
    for order in orders:
        price = order.price if isinstance(order, Quote) else order.limit_price
        assert price > 0
        assert price % of.instrument.tick_size == 0
        assert order.quantity % of.instrument.step_size == 0
        assert order.quantity >= of.instrument.min_quantity


@given(case=cases())
def test_no_quote_would_trade_with_the_book_or_with_another_quote(
    case: tuple[Snapshot, State, Params],
) -> None:
    of, state, params = case
    decision = decide(of, state, params)
    bids = [quote.price for quote in of_side(decision, Side.BUY)]
    asks = [quote.price for quote in of_side(decision, Side.SELL)]
    assert of.book.best_bid is not None
    assert of.book.best_ask is not None
    assert all(price < of.book.best_ask for price in bids)
    assert all(price > of.book.best_bid for price in asks)
    if bids and asks:
        assert max(bids) < min(asks)


@given(case=cases())
def test_no_two_quotes_share_a_price_or_a_level(case: tuple[Snapshot, State, Params]) -> None:
    of, state, params = case
    decision = decide(of, state, params)
    for side in Side:
        quotes = of_side(decision, side)
        assert len({quote.price for quote in quotes}) == len(quotes)
        assert len({quote.level for quote in quotes}) == len(quotes)
        assert len(quotes) <= params.max_orders + len(state.hanging)


@given(case=cases())
def test_no_side_leads_beyond_the_cap_whatever_fills(case: tuple[Snapshot, State, Params]) -> None:
    of, state, params = case
    decision = decide(of, state, params)
    assert of.position is not None
    taker = decision.taker
    for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
        total = sum((quote.quantity for quote in of_side(decision, side)), D(0))
        if taker is not None and taker.side is side:
            total += taker.quantity
        if total:
            assert max(sign * of.net.low, sign * of.net.high) + total <= params.max_position


@given(case=cases())
def test_a_taker_only_reduces_and_never_meets_an_own_order_that_is_kept(
    case: tuple[Snapshot, State, Params],
) -> None:
    of, state, params = case
    decision = decide(of, state, params)
    taker = decision.taker
    if taker is None:
        return
    assert of.position is not None
    net = of.position.net_quantity
    assert taker.reduce_only
    assert taker.side is (Side.SELL if net > 0 else Side.BUY)
    assert taker.quantity <= abs(net)
    if not of.exclusive_symbol:
        assert taker.quantity <= abs(of.profit.net)
        assert (of.profit.net > 0) == (net > 0)
    plan = reconcile(
        decision.quotes, of.open_orders, tolerance_bps=params.refresh_tolerance_bps, instrument=of.instrument
    )
    left = {own.order.side for own in plan.kept} | {quote.side for quote in plan.places}
    assert taker.side.opposite not in left


@given(case=cases())
def test_deciding_again_gives_the_same_and_a_state_read_back_changes_nothing(
    case: tuple[Snapshot, State, Params],
) -> None:
    of, state, params = case
    first = decide(of, state, params)
    assert decide(of, state, params) == first
    read_back = State.model_validate_json(state.model_dump_json())
    assert read_back == state
    assert decide(of, read_back, params) == first
    assert State.model_validate_json(first.state.model_dump_json()) == first.state


@given(case=cases())
def test_what_it_placed_is_what_it_wants(case: tuple[Snapshot, State, Params]) -> None:
    of, state, params = case
    # Orders placed anew have ids of their own, so none of them would hang.
    params = params.model_copy(update={"hanging_orders": False})
    first = decide(of, state, params)
    if first.taker is not None or state.closing is not None:
        return
    resting = placed(first.quotes)
    again = decide(replace(of, fills=(), open_orders=resting), first.state, params)
    plan = reconcile(
        again.quotes, resting, tolerance_bps=params.refresh_tolerance_bps, instrument=of.instrument
    )
    assert plan.changes_nothing


@given(of=snapshots(), params=parameters())
def test_an_unwind_never_does_more_than_close_its_own(of: Snapshot, params: Params) -> None:
    order = unwind(of, State(), params)
    assert of.position is not None
    if order is None:
        return
    own, held = of.profit.net, of.position.net_quantity
    assert order.reduce_only
    assert order.quantity <= abs(own)
    assert order.side is (Side.SELL if own > 0 else Side.BUY)
    if own * held > 0:
        assert order.quantity <= abs(held)


@st.composite
def eager_parameters(draw: st.DrawFn) -> Params:
    """Return parameters whose quotes together want far more than the cap allows."""
    wide: Params = draw(parameters())
    eager: dict[str, Any] = {
        "quantity": D(1),
        "max_orders": 8,
        "spread": D("0.05"),
        "refresh_tolerance_bps": D("0.25"),
        "target_position": draw(st.sampled_from([None, D(0), D(1), D(100)])),
        "min_spread_bps": D(0),
        "size_skew": D(0),
    }
    return wide.model_copy(update=eager)


#: Ticks that the market moves, the share of what it meets that is filled, whether the position lags, whether
#: the iteration is killed.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([-200, -30, -10, 0, 10, 30, 200]),
        st.sampled_from([D("0.3"), D(1), D(1)]),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=60)
@given(
    steps=STEPS,
    params=st.one_of(parameters(), eager_parameters()),
    start=st.sampled_from(["0", "1.5", "-1.5", "9"]),
    is_exclusive=st.booleans(),
)
def test_in_a_long_run_the_position_stays_within_the_cap(
    steps: list[tuple[int, D, bool, bool]], params: Params, start: str, is_exclusive: bool
) -> None:
    exchange = Exchange(
        instrument=perp_instrument(min_quantity="0.1"),
        net=D(start),
        shown=D(start),
        is_exclusive=is_exclusive,
    )
    state = State()
    reached = abs(exchange.net)
    for step, (ticks, share, lags, is_killed) in enumerate(steps):
        # A kill comes after the orders went out and before the state was saved.
        of = exchange.snapshot(lags=lags and step > 0)
        decision = decide(of, state, params)
        if decision.stop_reason is not None:
            break
        exchange.carry_out(decision, params, share)
        if not is_killed:
            state = State.model_validate_json(decision.state.model_dump_json())
            exchange.saved(of)
        exchange.move(ticks, share)
        exchange.now_ms += 1000
        assert abs(exchange.net) <= max(params.max_position, reached)
        reached = min(reached, abs(exchange.net))
