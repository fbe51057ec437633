"""Quote one bid and one ask around the mid: the smallest strategy that makes a market, and an example."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from market.instrument import MarketType
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies import base, quoting
from strategies.base import Decision, State, Strategy


class Params(base.Params):
    """What a user may set in `strategy_config`."""

    is_live: ClassVar[bool] = True
    half_spread_bps: Decimal = Field(gt=0, le=1000, description="Each quote's distance from the mid, bps.")
    quantity: Decimal = Field(gt=0, description="Size of each quote, base units.")
    max_position: Decimal | None = Field(
        default=None, gt=0, description="Most to be long or short, base units. Null: ten times quantity."
    )

    @property
    def position_cap(self) -> Decimal:
        """Return what the runner holds every quote to."""
        return self.max_position or 10 * self.quantity


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return a bid and an ask, or nothing while the book has no mid to trust."""
    book, instrument = snapshot.book, snapshot.instrument
    quantity = quoting.capped(params.quantity, instrument)
    if quantity < instrument.min_quantity:
        reason = f"quantity {params.quantity} is below the smallest order, {instrument.min_quantity}"
        return Decision(quotes=(), state=state, stop_reason=reason)
    if book.mid is None or not quoting.is_two_sided(book):
        return Decision(quotes=(), state=state)
    quotes = []
    for side in Side:
        wanted = quoting.outwards(book.mid, book.mid * params.half_spread_bps / quoting.BPS, side)
        price = instrument.round_price(wanted, side)  # away from the mid: it cannot meet the other side
        if quoting.is_valid_price(price, instrument):
            quotes.append(Quote(side=side, price=price, quantity=quantity, level=0))
    return Decision(quotes=tuple(quotes), state=state)


STRATEGY: Strategy[Params, State] = Strategy(
    title="TwoSidedQuoter",
    config_name="two_sided",
    market_types=frozenset({MarketType.SPOT, MarketType.PERP}),
    params=Params,
    state=State,
    decide=decide,
    summary="Quotes one bid and one ask around the mid; the example of docs/writing-a-strategy.md.",
)
