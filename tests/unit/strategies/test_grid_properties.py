"""What holds for grids whatever the market does: books to the unit, no level doubled, no exit missing."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from decimal import Decimal as D
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from market.instrument import Instrument
from market.orders import Role, Side
from market.snapshot import LevelRole, LevelTotals, Snapshot
from strategies import grid, perp_grid
from strategies.base import Decision
from strategies.grid_params import GridParams, State
from strategies.intervals import Grid, net_by_interval, wanted_quotes
from tests.unit.strategies.grid_exchange import Exchange, order_book, perp_instrument
from tests.unit.strategies.market_values import instrument, own_order, snapshot

BUY, SELL = Side.BUY, Side.SELL
TICK = D("0.01")
#: A move of the market in ticks, a hit of a side's best own order, or an iteration and how it ends.
Event = tuple[str, Any]

EVENTS = st.one_of(
    st.tuples(st.just("move"), st.integers(-150, 150)),
    st.tuples(st.just("move"), st.integers(-150, 150)),
    st.tuples(st.just("buy"), st.sampled_from([D("0.1"), D("0.5"), D("0.97"), D(1)])),
    st.tuples(st.just("sell"), st.sampled_from([D("0.1"), D("0.5"), D("0.97"), D(1)])),
    st.tuples(st.just("iterate"), st.none()),
    st.tuples(st.just("iterate"), st.none()),
    # Killed: so many placements were sent, and the state was not saved.
    st.tuples(st.just("killed"), st.integers(0, 12)),
    # The market moves between the reading and the placing.
    st.tuples(st.just("late"), st.integers(-40, 40)),
)


@dataclass
class Run:
    """A grid on an exchange, iteration by iteration."""

    exchange: Exchange
    params: Any
    state: State
    ended: str = ""
    #: What the account held before.
    base: D = D(0)

    def __post_init__(self) -> None:
        self.base = self.exchange.base

    def decide(self, snapshot: Snapshot) -> Decision[State]:
        module: Any = perp_grid if isinstance(self.params, perp_grid.Params) else grid
        # Through JSON, as between two tasks.
        saved = State.model_validate_json(self.state.model_dump_json())
        decision: Decision[State] = module.decide(snapshot, saved, self.params)
        assert module.decide(copy.deepcopy(snapshot), self.state, self.params) == decision
        return decision

    def play(self, event: Event) -> None:
        kind, value = event
        if self.ended:
            return
        if kind == "move":
            self.move(value)
        elif kind in ("buy", "sell"):
            self.exchange.hit(Side(kind), value)
        else:
            self.iterate(kind, value)
        check_accounts(self)

    def move(self, ticks: int) -> None:
        exchange = self.exchange
        bid = max(exchange.bid + ticks * TICK, D(1))
        exchange.move(bid, bid + exchange.ask - exchange.bid)

    def iterate(self, kind: str = "iterate", value: int | None = None) -> None:
        snapshot = self.exchange.snapshot()
        decision = self.decide(snapshot)
        check_decision(snapshot, decision)
        if decision.stop_reason is not None:
            self.ended = decision.stop_reason
            return
        if kind == "late":
            self.move(value or 0)
        # What was filled meanwhile, the runner learns when it cancels: it places nothing on that side.
        refused = self.exchange.refused
        if self.exchange.totals == snapshot.totals:
            self.exchange.carry_out(decision.quotes, places=value if kind == "killed" else None)
            check_levels(self.exchange, decision.state)
        assert kind == "late" or self.exchange.refused == refused, "an order that could not be sent"
        if kind != "killed":
            self.state = decision.state


def held_of(of: Grid, snapshot: Snapshot) -> list[D]:
    return [
        net if interval < of.long_intervals else -net
        for interval, net in enumerate(net_by_interval(of, snapshot.totals))
    ]


def check_decision(snapshot: Snapshot, decision: Decision[State]) -> None:
    """Check that every order could be sent as it is, and that every exit is there and whole."""
    of, book = snapshot.instrument, snapshot.book
    assert book.best_bid is not None
    assert book.best_ask is not None
    bids = [quote.price for quote in decision.quotes if quote.side is BUY]
    asks = [quote.price for quote in decision.quotes if quote.side is SELL]
    assert max(bids, default=D(0)) < min(asks, default=D(10**9))
    assert all(price < book.best_ask for price in bids)
    assert all(price > book.best_bid for price in asks)
    rests = {(own.level, own.role): own.order for own in snapshot.open_orders}
    for quote in decision.quotes:
        assert quote.price % of.tick_size == 0
        assert quote.quantity % of.step_size == 0
        assert quote.quantity > 0
        if quote.quantity < of.min_quantity:
            order = rests[quote.level, quote.role]
            assert (order.price, order.remaining_quantity) == (quote.price, quote.quantity)
    placed = {(quote.level, quote.role) for quote in decision.quotes}
    assert len(placed) == len(decision.quotes)
    if decision.state.grid is None or decision.state.adjusting:
        return
    exits = {quote.level: quote for quote in decision.quotes if quote.role is Role.CLOSE}
    for interval, held in enumerate(held_of(decision.state.grid, snapshot)):
        if held >= of.min_quantity:
            assert exits[interval].quantity == of.round_quantity(held)
        lower, upper = decision.state.grid.levels[interval : interval + 2]
        if interval in exits and exits[interval].side is SELL:
            assert exits[interval].price >= upper
        elif interval in exits:
            assert exits[interval].price <= lower


def check_levels(exchange: Exchange, state: State) -> None:
    """Check that no interval can come to hold more than the quantity, and none has two orders of a kind."""
    if state.grid is None:
        return
    snapshot = exchange.snapshot()
    places = [(own.level, own.role) for own in exchange.orders]
    assert len(places) == len(set(places))
    held = held_of(state.grid, snapshot)
    for own in exchange.orders:
        if own.role == Role.QUOTE:
            assert own.order.remaining_quantity + held[own.level] <= state.grid.quantity
        else:
            assert own.order.remaining_quantity <= held[own.level]


def check_accounts(run: Run) -> None:
    """Check the figures a snapshot carries against the exchange's own, to the last unit."""
    exchange = run.exchange
    totals = exchange.totals.values()
    signed = sum((each.net for each in totals), D(0))
    assert exchange.profit.net == signed
    paid = sum((each.paid - each.received + each.quote_fees for each in totals), D(0))
    assert exchange.cash == START_CASH - paid
    assert exchange.base == run.base + signed


START_CASH, START_BASE = D(3_000), D(4)


def check_run(run: Run) -> None:
    """Check that the intervals hold what the run has traded, no more and no less."""
    if run.state.grid is None or run.ended:
        return
    snapshot = run.exchange.snapshot()
    net = sum(net_by_interval(run.state.grid, snapshot.totals), D(0))
    assert net == run.state.stock + snapshot.profit.net


@st.composite
def runs(
    draw: st.DrawFn,
    /,
    *,
    of: Instrument,
    params: type[GridParams],
    position: str = "0",
    **given: Any,
) -> Run:
    spread = draw(st.sampled_from([1, 2, 9, 130])) * TICK
    bid = draw(st.integers(9_600, 10_400)) * TICK
    return Run(
        exchange=Exchange(
            of=of,
            bid=bid,
            ask=bid + spread,
            base=D(position) if params is perp_grid.Params else START_BASE,
            exclusive=params is perp_grid.Params,
            cash=START_CASH,
            maker_fee=draw(st.sampled_from([D(0), D("0.0008")])),
        ),
        params=params.model_validate(
            {
                "grid_lower_price": 97,
                "grid_upper_price": 103,
                "grid_num": draw(st.sampled_from([2, 5, 13])),
                "grid_mode": draw(st.sampled_from(["arithmetic", "geometric"])),
                "order_quantity": draw(st.sampled_from(["0.15", "0.5", "1", None])),
                **{key: draw(values) for key, values in given.items()},
            }
        ),
        state=State(),
    )


#: The type of a perpetual grid, and a position to adopt, of a side that it can close.
POSITIONS = st.one_of(
    st.tuples(st.sampled_from(["neutral", "long", "short"]), st.just("0")),
    st.tuples(st.sampled_from(["neutral", "long"]), st.sampled_from(["0.004", "0.7", "9"])),
    st.tuples(st.sampled_from(["neutral", "short"]), st.just("-1.234")),
)
STEPS = st.sampled_from([("0.01", "0.1"), ("0.01", "0.01"), ("0.001", "0.05")])


@settings(max_examples=50, deadline=None)
@given(
    run=STEPS.flatmap(
        lambda steps: runs(
            of=instrument(step_size=steps[0], min_quantity=steps[1]),
            params=grid.Params,
            enable_boundary_check=st.booleans(),
            boundary_action=st.just("adjust_range"),
            price_range_percent=st.sampled_from([1, 4]),
        )
    ),
    events=st.lists(EVENTS, min_size=5, max_size=40),
)
def test_a_spot_grid_keeps_its_books_and_its_exits_whatever_happens(run: Run, events: list[Event]) -> None:
    for event in events:
        run.play(event)
    run.iterate()
    run.iterate()
    check_run(run)


@settings(max_examples=60, deadline=None)
@given(
    run=st.tuples(STEPS, POSITIONS).flatmap(
        lambda drawn: runs(
            of=perp_instrument(step_size=drawn[0][0], min_quantity=drawn[0][1]),
            params=perp_grid.Params,
            position=drawn[1][1],
            grid_type=st.just(drawn[1][0]),
            boundary_action=st.just("adjust_range"),
            enable_boundary_check=st.booleans(),
            price_range_percent=st.sampled_from([1, 4]),
            max_position=st.sampled_from([1, 5]),
        )
    ),
    events=st.lists(EVENTS, min_size=5, max_size=40),
)
def test_a_perpetual_grid_keeps_its_books_and_its_exits_whatever_happens(
    run: Run, events: list[Event]
) -> None:
    for event in events:
        run.play(event)
    run.iterate()
    run.iterate()
    check_run(run)


@settings(max_examples=30, deadline=None)
@given(
    run=runs(
        of=perp_instrument(),
        params=perp_grid.Params,
        order_quantity=st.none(),
        enable_boundary_check=st.just(False),
        grid_type=st.sampled_from(["neutral", "long", "short"]),
        max_position=st.sampled_from(["0.5", "1.5", "20"]),
    ),
    events=st.lists(EVENTS.filter(lambda event: event[0] != "killed"), min_size=5, max_size=40),
)
def test_the_worst_case_of_an_automatic_grid_stays_inside_the_largest_position(
    run: Run, events: list[Event]
) -> None:
    for event in events:
        run.play(event)
        resting = {
            side: sum(
                (own.order.remaining_quantity for own in run.exchange.orders if own.order.side is side), D(0)
            )
            for side in Side
        }
        assert run.exchange.base + resting[BUY] <= run.params.max_position
        assert run.exchange.base - resting[SELL] >= -run.params.max_position


@settings(max_examples=25, deadline=None)
@given(
    run=runs(
        of=perp_instrument(),
        params=perp_grid.Params,
        enable_boundary_check=st.just(False),
        grid_type=st.sampled_from(["neutral", "long", "short"]),
        max_position=st.just(20),
    ),
    events=st.lists(EVENTS, min_size=5, max_size=30),
)
def test_a_grid_is_flat_once_the_price_has_gone_where_it_closes(run: Run, events: list[Event]) -> None:
    for event in events:
        run.play(event)
    run.iterate()
    run.iterate()
    made = run.state.grid
    assert made is not None
    # Beyond the last exit, and on: an exit that was run over stands next to the price. A neutral grid closes
    # towards its pivot.
    pivot = made.levels[made.long_intervals]
    targets = {"long": [D(105), D(107)], "short": [D(95), D(93)], "neutral": [pivot - 1, pivot + 1, pivot]}
    for target in targets[run.params.grid_type]:
        while run.exchange.bid != target:
            run.move(int(max(min((target - run.exchange.bid) / TICK, D(60)), D(-60))))
            run.iterate()
            check_accounts(run)
    held = [abs(net) for net in net_by_interval(made, run.exchange.totals)]
    if run.params.grid_type == "neutral":
        # Next to the pivot an interval may have opened on the way; what lies further out is closed.
        del held[max(made.long_intervals - 3, 0) : made.long_intervals + 3]
    assert all(each < run.exchange.of.min_quantity for each in held)


@st.composite
def moments(draw: st.DrawFn) -> tuple[Grid, Snapshot]:
    """Return a grid whose intervals hold anything at all, with orders that rest anywhere."""
    of = perp_instrument(min_quantity=draw(st.sampled_from(["0.01", "0.3"])))
    bid = draw(st.integers(9_600, 10_400)) * TICK
    ask = bid + draw(st.sampled_from([1, 2, 60, 300])) * TICK
    levels = tuple(D(97) + step for step in range(7))
    made = Grid(levels=levels, quantity=D(1), long_intervals=draw(st.integers(0, 6)))
    totals: dict[LevelRole, LevelTotals] = {}
    own = []
    for level in range(6):
        sign = 1 if level < made.long_intervals else -1
        held = sign * draw(st.sampled_from([0, 0, 10, 29, 75, 100, 130, -20])) * TICK
        totals[level, Role.QUOTE] = LevelTotals(bought=max(held, D(0)), sold=max(-held, D(0)))
        for role in (Role.QUOTE, Role.CLOSE):
            left = draw(st.sampled_from([0, 0, 10, 25, 71, 100])) * TICK
            price = draw(st.sampled_from([*levels, bid, ask, bid - TICK, ask + TICK]))
            if left:
                side = draw(st.sampled_from(Side))
                own.append(own_order(side, price, 2 * left, executed=left, level=level, role=role))
    when = replace(
        snapshot(of=of, order_book=order_book(bid, ask), base=None, quote=None, open_orders=own),
        totals=totals,
    )
    return made, when


@settings(max_examples=200, deadline=None)
@given(moment=moments(), reduce_only=st.booleans())
def test_whatever_the_intervals_hold_their_orders_can_be_sent_together(
    moment: tuple[Grid, Snapshot], reduce_only: bool
) -> None:
    made, when = moment
    quotes = wanted_quotes(made, when, reduce_only=reduce_only)
    check_decision(when, Decision(quotes=quotes, state=State(grid=made)))
    held = held_of(made, when)
    for quote in quotes:
        if quote.role is Role.QUOTE:
            assert quote.quantity + held[quote.level] <= made.quantity


@settings(max_examples=30, deadline=None)
@given(
    run=runs(of=instrument(), params=grid.Params),
    events=st.lists(EVENTS, min_size=3, max_size=20),
)
def test_an_unchanged_market_needs_no_further_order(run: Run, events: list[Event]) -> None:
    for event in events:
        run.play(event)
    for _ in range(3):
        run.iterate()
    before = list(run.exchange.orders)
    refused = run.exchange.refused
    run.iterate()
    assert run.exchange.orders == before
    assert run.exchange.refused == refused
