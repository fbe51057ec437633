"""A tiny exchange with a run on it: fills, late histories and positions, and iterations that are killed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal as D

from market.instrument import Instrument
from market.orders import OrderStatus, Quote, Role, Side
from market.position import Fill
from market.snapshot import OwnOrder, Snapshot
from strategies.base import Decision, TakerOrder
from strategies.maker_hedge import decide
from strategies.maker_hedge_params import PerpParams, SpotParams
from strategies.maker_hedge_state import State, matters
from strategies.maker_hedge_taking import unwind
from strategies.reconcile import reconcile
from tests.unit.strategies.hedge_values import booked, fill, perp, perp_instrument, spot
from tests.unit.strategies.market_values import NOW_MS, book, instrument, own_order

#: Between two iterations.
STEP_MS = 1_000


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the world does around one iteration. Pairs are tenths of what rests, of the bid and of the ask."""

    bid_ticks: int = 0
    spread_ticks: int = 2
    #: Filled before the snapshot is read.
    before: tuple[int, int] = (0, 0)
    #: Filled while it is read: no list and no history shows it, the position may.
    during: tuple[int, int] = (0, 0)
    #: Filled after it, before the cancels arrive.
    after: tuple[int, int] = (0, 0)
    #: Tenths of a hedge that are filled.
    hedge: int = 10
    #: Iterations until the history shows the fills of this one.
    history_lag: int = 0
    #: Iterations by which the position is late in this one.
    position_lag: int = 0
    #: Where the iteration is killed: "start", "cancels", "hedge", or after everything was sent, "end".
    killed: str = ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """One fill, and from which iteration on the history shows it."""

    fill: Fill
    role: Role
    visible_from: int

    @property
    def change(self) -> D:
        """What it changed of the coins held."""
        signed = self.fill.quantity if self.fill.side is Side.BUY else -self.fill.quantity
        return signed - (self.fill.fee if self.fill.fee_asset == "SOL" else D(0))


@dataclass(kw_only=True)
class World:
    """The exchange's truth, and what a run has saved."""

    params: SpotParams | PerpParams
    position_at_start: D = D(0)
    of: Instrument = field(init=False)
    state: State = field(default_factory=State)
    #: Trade ids of the fills that the saved state has seen.
    told: set[str] = field(default_factory=set)
    orders: list[OwnOrder] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    positions: list[D] = field(default_factory=list)
    at: int = 0
    #: What others have moved the position by.
    moved: D = D(0)
    #: The most that the run was ever away from its reference.
    furthest: D = D(0)

    def __post_init__(self) -> None:
        make = perp_instrument if isinstance(self.params, PerpParams) else instrument
        self.of = make(min_quantity="0.05")
        self.positions = [self.position_at_start] * 4

    @property
    def position(self) -> D:
        """The true position, or the coins more than at the start."""
        return self.position_at_start + sum((done.change for done in self.done), D(0)) + self.moved

    @property
    def difference(self) -> D:
        """How far the run has truly gone from its reference."""
        wanted = getattr(self.params, "reference_position", None)
        return self.position - self.moved - (self.position_at_start if wanted is None else wanted)

    @property
    def is_within_tolerance(self) -> bool:
        """Tell whether no hedge is due."""
        return not matters(self.difference, self.of, self.params)

    @property
    def has_room_on_both_sides(self) -> bool:
        """Tell whether the cap leaves room for one smallest order on each side."""
        cap, away = self.params.exposure_cap, abs(self.difference)
        if isinstance(self.params, PerpParams):
            away = max(
                away, abs(self.position), abs(self.params.reference_position or self.position_at_start)
            )
        return cap is None or away + self.of.min_quantity <= cap

    def run(self, step: Step) -> Decision[State]:
        """Run one iteration and return its decision."""
        self.at += 1
        self._fill_quotes(step.before, step)
        listed, known, away = tuple(self.orders), len(self.done), self.difference
        self._fill_quotes(step.during, step)
        of = self._snapshot(step, listed, known)
        decision = decide(of, self.state, self.params)
        check(of, self.state, self.params, decision, away)
        assert decision.stop_reason is None or self.moved != 0
        if step.killed != "start":
            self._carry_out(of, decision, step, known)
        self.positions.append(self.position)
        return decision

    def unwind(self) -> int:
        """Cancel everything and hedge until nothing is to be hedged; return the number of orders."""
        self.orders = []
        for sent in range(10):
            self.at += 1
            order = unwind(self._snapshot(Step(), (), len(self.done)), self.state, self.params)
            if order is None:
                return sent
            self._fill_hedge(order, Step())
        raise AssertionError("the final hedge does not come to an end")

    def _snapshot(self, step: Step, listed: tuple[OwnOrder, ...], known: int) -> Snapshot:
        bid = D(149) + step.bid_ticks * self.of.tick_size
        order_book = book(bid, bid + step.spread_ticks * self.of.tick_size)
        now_ms = NOW_MS + self.at * STEP_MS
        seen = [done for done in self.done[:known] if done.visible_from <= self.at]
        unsettled = {done.role for done in self.done[:known] if done.visible_from > self.at}
        if isinstance(self.params, PerpParams):
            shown = [*self.positions, self.position][-1 - step.position_lag]
            of = perp(position=shown, of=self.of, order_book=order_book, open_orders=listed)
        else:
            of = spot(of=self.of, order_book=order_book, open_orders=listed, base=50, quote=90_000)
        return replace(
            booked(of, [(done.role, done.fill) for done in seen]),
            taken_at_ms=now_ms,
            unsettled=frozenset((0, int(role)) for role in unsettled),
            fills=tuple(done.fill for done in seen if done.fill.trade_id not in self.told),
        )

    def _carry_out(self, of: Snapshot, decision: Decision[State], step: Step, known: int) -> None:
        """Do what the runner does, and save the state unless the iteration is killed."""
        plan = reconcile(decision.quotes, of.open_orders, tolerance_bps=D(0), instrument=self.of)
        self._fill_quotes(step.after, step)
        going = {own.order.order_id for own in plan.cancels}
        # A cancel that finds less than was listed is no certain one: its side gets nothing new.
        hit = {done.fill.order_id for done in self.done[known:]} & going
        blocked = {own.order.side for own in plan.cancels if own.order.order_id in hit}
        self.orders = [own for own in self.orders if own.order.order_id not in going]
        if step.killed == "cancels":
            return
        if decision.taker is not None and not blocked:
            self._fill_hedge(decision.taker, step)
        if step.killed == "hedge":
            return
        self.orders += [self._placed(quote) for quote in plan.places if quote.side not in blocked]
        if step.killed != "end":
            self.state = State.model_validate_json(decision.state.model_dump_json())
            self.told |= {one.trade_id for one in of.fills}

    def _placed(self, quote: Quote) -> OwnOrder:
        order_id = f"{self.at}-{quote.side}"
        return own_order(quote.side, quote.price, quote.quantity, order_id=order_id)

    def _fill_quotes(self, tenths: tuple[int, int], step: Step) -> None:
        left = []
        for own in self.orders:
            order = own.order
            part = tenths[0] if order.side is Side.BUY else tenths[1]
            quantity = self.of.round_quantity(order.remaining_quantity * part / 10)
            if quantity > 0:
                self._book(order.side, quantity, Role.QUOTE, order.order_id, step)
            executed = order.executed_quantity + quantity
            if executed < order.quantity:
                hit = replace(order, executed_quantity=executed, status=OrderStatus.PARTIALLY_FILLED)
                left.append(replace(own, order=hit) if quantity else own)
        self.orders = left

    def _fill_hedge(self, taker: TakerOrder, step: Step) -> None:
        quantity = self.of.round_quantity(taker.quantity * step.hedge / 10)
        if taker.reduce_only:
            standing = self.position if taker.side is Side.SELL else -self.position
            quantity = min(quantity, max(standing, D(0)))
        if quantity > 0:
            self._book(taker.side, quantity, Role.HEDGE, f"{self.at}-hedge", step)

    def _book(self, side: Side, quantity: D, role: Role, order_id: str, step: Step) -> None:
        signed = quantity if side is Side.BUY else -quantity
        is_in_coins = side is Side.BUY and isinstance(self.params, SpotParams)
        one = fill(
            signed,
            at_ms=NOW_MS + self.at * STEP_MS,
            fee=str(quantity / 1000) if is_in_coins else "0.01",
            fee_asset="SOL" if is_in_coins else "USDC",
        )
        one = replace(one, order_id=order_id, trade_id=str(len(self.done)))
        self.done.append(Done(fill=one, role=role, visible_from=self.at + step.history_lag))
        self.furthest = max(self.furthest, abs(self.difference))


def check(
    of: Snapshot, state: State, params: SpotParams | PerpParams, decision: Decision[State], away: D
) -> None:
    """Assert what holds for every decision; `away` is the true difference when the reading began."""
    assert decision == decide(of, state, params)
    taker, quotes = decision.taker, decision.quotes
    if taker is not None:
        traded = taker.quantity if taker.side is Side.BUY else -taker.quantity
        assert traded * away < 0, "a hedge in the wrong direction"
        assert taker.quantity <= abs(away), "a hedge beyond the reference"
        assert taker.limit_price % of.instrument.tick_size == 0
        assert taker.side.opposite not in {quote.side for quote in quotes}
        assert {own.order.side for own in reconciled(of, decision)} <= {taker.side}
    assert len({quote.side for quote in quotes}) == len(quotes)
    for quote in quotes:
        assert (quote.level, quote.role, quote.post_only) == (0, Role.QUOTE, True)
        assert quote.price % of.instrument.tick_size == 0
        assert quote.quantity % of.instrument.step_size == 0
        assert quote.quantity >= of.instrument.min_quantity
        assert quote.price == (of.book.best_bid if quote.side is Side.BUY else of.book.best_ask)


def reconciled(of: Snapshot, decision: Decision[State]) -> tuple[OwnOrder, ...]:
    """Return the own orders that stay."""
    return reconcile(decision.quotes, of.open_orders, tolerance_bps=D(0), instrument=of.instrument).kept
