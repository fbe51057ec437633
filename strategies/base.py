"""The shape of a strategy: `Params`, `State` and one pure function `decide`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from market.instrument import MarketType
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.effects import tell_effects


class Params(BaseModel):
    """Parameters of a strategy, from `strategy_config` of the instance's file."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=tell_effects)

    #: True: another value of a parameter holds from a run's next iteration on, unless its field is marked
    #: `RESTART`. False: it takes a new run, unless the field is marked `LIVE`. The state that was made with
    #: the old values has to make sense with the new ones.
    is_live: ClassVar[bool] = False

    #: Keys of older files that are let pass without effect, and why they have none, in words.
    inert: ClassVar[Mapping[str, str]] = {}

    refresh_tolerance_bps: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1000,
        description="A resting order this close to its wanted price keeps its queue place, basis points.",
    )

    @property
    def position_cap(self) -> Decimal | None:
        """Return the largest position, base units, that resting orders may lead to; None: no limit."""
        return None


class State(BaseModel):
    """What a strategy remembers between iterations; kept as JSON, so it survives every crash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Layout of this state; an unknown one is an error, never a reset.
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class TakerOrder:
    """A price-protected immediate-or-cancel order a strategy wants now."""

    side: Side
    quantity: Decimal
    #: Worst price it may trade at.
    limit_price: Decimal
    reduce_only: bool = False
    #: One or two words for the log and the ledger, for example ``rebalance``.
    reason: str


S = TypeVar("S", bound=State)
P = TypeVar("P", bound=Params)


@dataclass(frozen=True, kw_only=True)
class Decision(Generic[S]):
    """What a strategy wants after one snapshot."""

    #: Every quote that should rest afterwards; own orders that fit none are cancelled.
    quotes: tuple[Quote, ...]
    state: S
    taker: TakerOrder | None = None
    #: Ends the run through the normal stop, with this reason.
    stop_reason: str | None = None
    #: With a stop reason: the run has lost as much as its owner allows, of which people are told at once.
    is_loss: bool = False
    #: With a stop reason: the stop also runs `Strategy.unwind` until nothing of this run is left open.
    unwind: bool = False


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a strategy says of its parameters before it is started, in sentences for the user."""

    #: Each of them keeps the instance from starting.
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Strategy(Generic[P, S]):
    """A registered strategy."""

    #: The name users read, for example ``MarketMaker``.
    title: str
    #: The name in `metadata.strategy`, for example ``standard``.
    config_name: str
    market_types: frozenset[MarketType]
    params: type[P]
    state: type[S]
    decide: Callable[[Snapshot, S, P], Decision[S]]
    #: One line for lists: what it does.
    summary: str = ""
    #: True: a level is a place of its own (a grid's interval): an order serves only the level it was placed
    #: for, and a level whose fills are not all known gets no order.
    fixed_levels: bool = False
    #: Returns the next order that brings what this run opened back to where it should be left, or None when
    #: it is there. Run by a cleanup after the orders are gone, again and again until it returns None.
    unwind: Callable[[Snapshot, S, P], TakerOrder | None] | None = None
    #: True: every stop unwinds (a hedge is not left half done), not only one that a decision asks for.
    unwinds_at_stop: bool = False
    #: Looks at the parameters and a first snapshot (with balances, also on perpetuals) before a start.
    preflight: Callable[[Snapshot, P], Preflight] | None = None


AnyStrategy = Strategy[Any, Any]
