"""Rules that withdraw or hold quotes, shared by the market makers: parameters, memory, pure functions.

Price bands, the pause after a fill, hanging orders, and the cool-down after a loss. All of them are off by
default.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies import base, hanging
from strategies.hanging import Pairs, Watched
from strategies.ladder import Ladder, LadderParams

#: Peaks of the profit are kept at least this part of the cool-down apart, so that the state stays small.
_PEAKS_PER_COOLDOWN = 8


class MakerParams(LadderParams):
    """A ladder, and the rules that withdraw or hold its quotes."""

    filled_order_delay_s: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=86_400,
        description="After a quote was hit, its side places nothing for so long, seconds. 0: no pause.",
    )
    price_floor: Decimal | None = Field(
        default=None, gt=0, description="Nothing is sold while the mid is below, quote units."
    )
    price_ceiling: Decimal | None = Field(
        default=None, gt=0, description="Nothing is bought while the mid is above, quote units."
    )
    moving_band_percent: Decimal | None = Field(
        default=None,
        gt=0,
        lt=100,
        description="Floor and ceiling this far below and above a reference price, percent of it.",
    )
    moving_band_refresh_s: Decimal = Field(
        default=Decimal(86_400),
        gt=0,
        le=31_536_000,
        description="How long moving_band_percent keeps a reference, seconds; then the mid becomes the next.",
    )
    hanging_orders: bool = Field(
        default=False,
        description="Whether the other order of a level stays at its price once one of the two has filled.",
    )
    hanging_cancel_percent: Decimal = Field(
        default=Decimal(10),
        gt=0,
        le=100,
        description="A hanging order is given up when the mid is farther away, percent of the mid.",
    )
    loss_cooldown_s: Decimal = Field(
        default=Decimal(300),
        ge=0,
        le=604_800,
        description="How long nothing is quoted after a loss, seconds. 0: no pause.",
    )
    loss_cooldown_trigger: Decimal | None = Field(
        default=None,
        gt=0,
        description="Fall of the run's realised profit, fees included, within loss_cooldown_s that counts "
        "as a loss, quote units. Null: off.",
    )

    @model_validator(mode="after")
    def _band_is_a_band(self) -> Self:
        floor, ceiling = self.price_floor, self.price_ceiling
        if floor is not None and ceiling is not None and floor >= ceiling:
            raise ValueError(f"price_floor {floor:f} must be below price_ceiling {ceiling:f}")
        return self

    @model_validator(mode="after")
    def _trigger_has_a_cooldown(self) -> Self:
        if self.loss_cooldown_trigger is not None and self.loss_cooldown_s == 0:
            raise ValueError("loss_cooldown_trigger needs loss_cooldown_s above 0")
        return self


class ProfitPeak(BaseModel):
    """A realised profit that was higher than the one after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_ms: int
    profit: Decimal


class MakerState(base.State):
    """What the rules remember. Times are ms since the epoch by the state server's clock."""

    #: When a fill of a quote was last learnt of.
    last_bought_at_ms: int | None = None
    last_sold_at_ms: int | None = None
    #: Middle of the moving price band, and since when.
    band_reference: Decimal | None = None
    band_reference_at_ms: int | None = None
    #: Falling, oldest first, none older than the cool-down.
    profit_peaks: tuple[ProfitPeak, ...] = ()
    cooldown_since_ms: int | None = None
    watched: tuple[Watched, ...] = ()
    #: Order ids of hanging orders.
    hanging: tuple[str, ...] = ()


S = TypeVar("S", bound=MakerState)


def remember(snapshot: Snapshot, state: S, params: MakerParams) -> S:
    """Return the state with what this snapshot tells.

    It has to come first, whatever is decided afterwards: a fill is shown once.
    """
    changes = {
        **_fill_times(snapshot),
        **_band(snapshot, state, params),
        **_losses(snapshot, state, params),
        **_pairs(snapshot, state, params),
    }
    return state.model_copy(update=changes) if changes else state


def is_within(now_ms: int, since_ms: int | None, length_s: Decimal | int) -> bool:
    """Tell whether less than `length_s` has passed. A time in the future counts as long ago.

    Such a time comes from a clock that was set back; waiting for it could take for ever.
    """
    return since_ms is not None and 0 <= now_ms - since_ms < length_s * 1000


def is_cooling_down(now_ms: int, state: MakerState, params: MakerParams) -> bool:
    """Tell whether quotes are withdrawn because of a loss."""
    return is_within(now_ms, state.cooldown_since_ms, params.loss_cooldown_s)


def is_delayed(side: Side, now_ms: int, state: MakerState, params: MakerParams) -> bool:
    """Tell whether `side` places nothing because it was hit a moment ago."""
    last_ms = state.last_bought_at_ms if side is Side.BUY else state.last_sold_at_ms
    return is_within(now_ms, last_ms, params.filled_order_delay_s)


def sides_in_band(mid: Decimal, state: MakerState, params: MakerParams) -> tuple[Side, ...]:
    """Return the sides that the price bands leave: no bids above a ceiling, no asks below a floor."""
    floors, ceilings = [params.price_floor], [params.price_ceiling]
    if params.moving_band_percent is not None and state.band_reference is not None:
        width = state.band_reference * params.moving_band_percent / 100
        floors.append(state.band_reference - width)
        ceilings.append(state.band_reference + width)
    sides = []
    if not any(ceiling is not None and mid > ceiling for ceiling in ceilings):
        sides.append(Side.BUY)
    if not any(floor is not None and mid < floor for floor in floors):
        sides.append(Side.SELL)
    return tuple(sides)


def quotes(
    snapshot: Snapshot, state: MakerState, params: MakerParams, prices: Ladder, side: Side, size: Decimal
) -> tuple[Quote, ...]:
    """Return the quotes of one side in the order in which they are served: hanging ones, then the ladder's.

    A side that was hit a moment ago keeps its hanging orders only: they complete a pair, they open none.
    Nothing is quoted that would trade with a hanging order of the other side.
    """
    wanted: tuple[Quote, ...] = ()
    if not is_delayed(side, snapshot.taken_at_ms, state, params):
        others = [quote.price for quote in hanging.quotes(snapshot, state.hanging, side.opposite)]
        wanted = tuple(
            Quote(side=side, price=price, quantity=size, level=level)
            for level, price in prices
            if all(price < other if side is Side.BUY else price > other for other in others)
        )
    return hanging.around(hanging.quotes(snapshot, state.hanging, side), wanted)


def _fill_times(snapshot: Snapshot) -> dict[str, object]:
    # Quotes are post-only, so they are always the maker; a rebalance or a close is no reason to wait.
    sides = {fill.side for fill in snapshot.fills if fill.is_maker}
    times: dict[str, object] = {}
    if Side.BUY in sides:
        times["last_bought_at_ms"] = snapshot.taken_at_ms
    if Side.SELL in sides:
        times["last_sold_at_ms"] = snapshot.taken_at_ms
    return times


def _band(snapshot: Snapshot, state: MakerState, params: MakerParams) -> dict[str, object]:
    mid = snapshot.book.mid
    if params.moving_band_percent is None or mid is None:
        return {}
    if is_within(snapshot.taken_at_ms, state.band_reference_at_ms, params.moving_band_refresh_s):
        return {}
    return {"band_reference": mid, "band_reference_at_ms": snapshot.taken_at_ms}


def _losses(snapshot: Snapshot, state: MakerState, params: MakerParams) -> dict[str, object]:
    if params.loss_cooldown_trigger is None:
        return {}
    now_ms = snapshot.taken_at_ms
    profit = snapshot.profit.realized - snapshot.profit.fees
    # A peak that the profit has reached again tells nothing that the profit of now does not.
    peaks = tuple(
        peak
        for peak in state.profit_peaks
        if peak.profit > profit and is_within(now_ms, peak.at_ms, params.loss_cooldown_s)
    )
    if peaks and peaks[0].profit - profit > params.loss_cooldown_trigger:
        return {"profit_peaks": (), "cooldown_since_ms": now_ms}
    apart_s = params.loss_cooldown_s / _PEAKS_PER_COOLDOWN
    if not (peaks and is_within(now_ms, peaks[-1].at_ms, apart_s)):
        peaks = (*peaks, ProfitPeak(at_ms=now_ms, profit=profit))
    return {"profit_peaks": peaks}


def _pairs(snapshot: Snapshot, state: MakerState, params: MakerParams) -> dict[str, object]:
    if not params.hanging_orders:
        return {"watched": (), "hanging": ()} if state.watched or state.hanging else {}
    pairs = hanging.observe(
        snapshot,
        Pairs(watched=state.watched, hanging=state.hanging),
        cancel_percent=params.hanging_cancel_percent,
    )
    return {"watched": pairs.watched, "hanging": pairs.hanging}
