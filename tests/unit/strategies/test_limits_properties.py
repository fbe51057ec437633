"""What holds for limits whatever the market, the limits and the quotes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from market.net_range import Carried
from market.orders import Quote, Role, Side
from market.profit import Profit
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from strategies.limits import Limits, check_taker, trim, trim_rate
from tests.unit.strategies.limit_values import BUY, SELL, bid, perp, spot, taker
from tests.unit.strategies.market_values import NOW_MS

STEP = D("0.01")

#: Thousandths: fees leave positions between two steps.
NETS = st.integers(-8_000, 8_000).map(lambda thousandths: D(thousandths) / 1000) | st.sampled_from(
    [D(0), D(3)]
)
SIZES = st.integers(1, 600).map(lambda steps: steps * STEP)
PRICES = st.integers(13_000, 17_000).map(lambda ticks: str(D(ticks) / 100))
CAPS = st.none() | st.sampled_from([D("0.005"), D(1), D("3.333"), D(20)])
SNAPSHOTS = st.one_of(
    st.builds(
        spot, NETS, min_quantity=st.sampled_from(["0.01", "0.5"]), quote=st.sampled_from(["50", "700"])
    ),
    st.builds(perp, NETS, usdc=st.sampled_from([None, "50", "700"])),
)
ANY_QUOTE = st.builds(
    bid,
    PRICES,
    SIZES,
    level=st.integers(0, 9),
    side=st.sampled_from(Side),
    role=st.sampled_from([Role.QUOTE, Role.QUOTE, Role.CLOSE]),
)
QUOTES = st.lists(ANY_QUOTE, max_size=10)
TAKERS = st.builds(taker, st.sampled_from(Side), SIZES, st.sampled_from(["100", "150", "160"]))
LIMITS = st.builds(
    Limits,
    max_position=CAPS,
    max_open_orders=st.none() | st.integers(1, 6),
    max_order_notional=st.none() | st.sampled_from([D(1), D(50), D(300)]),
    price_band_bps=st.none() | st.sampled_from([D(10), D(500)]),
    min_balance=st.none() | st.sampled_from([D(60), D(300)]),
)


def total(quotes: Iterable[Quote], side: Side) -> D:
    return sum((quote.quantity for quote in quotes if quote.side is side), D(0))


def net_of(of: Snapshot) -> D:
    return of.profit.net if of.position is None else of.position.net_quantity


@given(
    of=SNAPSHOTS,
    wanted=QUOTES,
    taking=st.none() | TAKERS,
    limits=LIMITS,
    cap=st.sampled_from([D("0.005"), D(1), D("3.333"), D(20)]),
    filled=st.lists(st.sampled_from([D(0), D("0.3"), D(1)]), min_size=11, max_size=11),
)
def test_whatever_is_filled_the_position_stays_within_the_cap_or_does_not_grow(
    of: Snapshot, wanted: list[Quote], taking: TakerOrder | None, limits: Limits, cap: D, filled: list[D]
) -> None:
    kept, _ = trim(wanted, of, limits, position_cap=cap, taker=taking)
    sent = None if taking is None else check_taker(taking, kept, of, limits, position_cap=cap)[0]
    net = before = net_of(of)
    orders: list[Quote | TakerOrder] = [*kept, *([sent] if sent else [])]
    for order, part in zip(orders, filled, strict=False):
        net += order.quantity * part * (1 if order.side is BUY else -1)
    allowed = cap if limits.max_position is None else min(cap, limits.max_position)
    assert abs(net) <= max(allowed, abs(before))


@given(
    shown=st.integers(-800, 800),
    own=st.lists(st.integers(-300, 300), max_size=5),
    unseen=st.integers(0, 2),
    is_position_late=st.booleans(),
    wanted=st.lists(st.tuples(ANY_QUOTE, st.booleans()), max_size=10),
    taking=st.none() | st.tuples(TAKERS, st.booleans()),
    limits=LIMITS,
    cap=st.sampled_from([D("0.005"), D(1), D("3.333"), D(20)]),
)
def test_a_position_or_fills_that_lag_by_a_fill_or_two_do_not_take_it_beyond_the_cap(
    shown: int,
    own: list[int],
    unseen: int,
    is_position_late: bool,
    wanted: list[tuple[Quote, bool]],
    taking: tuple[TakerOrder, bool] | None,
    limits: Limits,
    cap: D,
) -> None:
    """`shown` is the position before the run; of `own` fills one read lacks the newest `unseen`."""
    before, early = shown * STEP, sum(own[: max(len(own) - unseen, 0)]) * STEP
    true = before + sum(own) * STEP
    held, counted = (before + early, true - before) if is_position_late else (true, early)
    bounds = Carried(low=before, high=before).net_range(held, counted)
    of = replace(perp(held), net_bounds=bounds, profit=Profit(net=counted, average_price=D(150)))
    quotes = [replace(quote, reduce_only=reduces) for quote, reduces in wanted]
    order = None if taking is None else replace(taking[0], reduce_only=taking[1])
    kept, _ = trim(quotes, of, limits, position_cap=cap, taker=order)
    sent = None if order is None else check_taker(order, kept, of, limits, position_cap=cap)[0]
    orders: list[Quote | TakerOrder] = [*([sent] if sent else []), *kept]
    allowed = cap if limits.max_position is None else min(cap, limits.max_position)
    for side, sign in ((BUY, 1), (SELL, -1)):
        # What only reduces first: that leaves most for the others.
        net = true
        for each in sorted(orders, key=lambda order: not order.reduce_only):
            if each.side is side:
                reducible = max(-sign * net, D(0))
                net += sign * (min(each.quantity, reducible) if each.reduce_only else each.quantity)
        assert sign * net <= max(allowed, sign * true)


@given(of=SNAPSHOTS, wanted=QUOTES, taking=st.none() | TAKERS, limits=LIMITS, cap=CAPS)
def test_trimming_twice_cuts_nothing_more(
    of: Snapshot, wanted: list[Quote], taking: TakerOrder | None, limits: Limits, cap: D | None
) -> None:
    kept, _ = trim(wanted, of, limits, position_cap=cap, taker=taking)
    assert trim(kept, of, limits, position_cap=cap, taker=taking) == (kept, ())


@given(of=SNAPSHOTS, wanted=QUOTES, limits=LIMITS, cap=CAPS)
def test_nothing_is_enlarged_invented_or_cut_without_a_word(
    of: Snapshot, wanted: list[Quote], limits: Limits, cap: D | None
) -> None:
    kept, cuts = trim(wanted, of, limits, position_cap=cap)
    assert trim(wanted, of, limits, position_cap=cap) == (kept, cuts)
    left, said = list(kept), list(cuts)
    for quote in wanted:
        if left and left[0] == quote:
            left.pop(0)
            continue
        cut = said.pop(0)
        assert (cut.side, cut.level, cut.price, cut.wanted) == (
            quote.side,
            quote.level,
            quote.price,
            quote.quantity,
        )
        assert cut.allowed < quote.quantity
        if cut.allowed:
            reduced = left.pop(0)
            assert (reduced.price, reduced.role, reduced.quantity) == (quote.price, quote.role, cut.allowed)
            assert cut.allowed % STEP == 0
            assert cut.allowed >= of.instrument.min_quantity
    assert not left
    assert not said


@given(
    net=st.integers(-800, 800), wanted=QUOTES, limits=LIMITS, cap=CAPS, usdc=st.sampled_from(["50", "700"])
)
def test_what_brings_the_position_to_zero_is_never_cut_by_position_notional_or_balance(
    net: int, wanted: list[Quote], limits: Limits, cap: D | None, usdc: str
) -> None:
    limits = limits.model_copy(update={"price_band_bps": None, "max_open_orders": None})
    of = perp(net * STEP, usdc=usdc)
    kept, _ = trim(wanted, of, limits, position_cap=cap)
    side = SELL if net > 0 else BUY
    assert total(kept, side) >= min(total(wanted, side), abs(net) * STEP)


@given(of=SNAPSHOTS, wanted=QUOTES, taking=TAKERS, limits=LIMITS, cap=CAPS)
def test_an_order_that_takes_is_never_enlarged_and_always_gets_out(
    of: Snapshot, wanted: list[Quote], taking: TakerOrder, limits: Limits, cap: D | None
) -> None:
    kept, _ = trim(wanted, of, limits, position_cap=cap, taker=taking)
    sent, cut = check_taker(taking, kept, of, limits, position_cap=cap)
    quantity = sent.quantity if sent else D(0)
    assert (cut is None) is (sent == taking)
    assert quantity <= taking.quantity
    net = net_of(of)
    reducing = min(taking.quantity, max(net if taking.side is SELL else -net, D(0)))
    on_step = of.instrument.round_quantity(reducing)
    assert quantity >= on_step or on_step < of.instrument.min_quantity


@given(
    places=QUOTES,
    earlier_ms=st.lists(st.integers(NOW_MS - 90_000, NOW_MS), max_size=8),
    most=st.integers(1, 12),
)
def test_no_minute_sees_more_placements_than_allowed(
    places: list[Quote], earlier_ms: list[int], most: int
) -> None:
    limits = Limits(max_orders_per_minute=most)
    recent = sum(NOW_MS - at_ms < 60_000 for at_ms in earlier_ms)
    kept, cuts = trim_rate(places, earlier_ms, NOW_MS, limits)
    assert len(kept) == min(len(places), max(most - recent, 0))
    assert len(kept) + len(cuts) == len(places)
