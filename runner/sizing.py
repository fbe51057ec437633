"""What a configuration comes to on the market as it is: its first orders, the worst case, margin and fees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from market.instrument import Instrument, MarketType
from market.orders import Quote, Side
from market.snapshot import Snapshot
from runner.config import InstanceConfig
from runner.context import Context
from runner.lifecycle import runnable
from runner.limiting import limited_plan
from runner.loaded import LoadedInstance
from runner.preflight import first_snapshot
from strategies.base import Decision, Preflight, State
from strategies.quoting import BPS
from wording import said

_ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the first orders take of one asset, against what is available."""

    asset: str
    needed: Decimal
    available: Decimal


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """Figures for a person who is about to start a configuration. Base and quote units as named."""

    instrument: Instrument
    #: None while the book has no two sides.
    mid: Decimal | None
    #: Value of the smallest order at the mid, quote units.
    min_notional: Decimal | None
    bids: int
    asks: int
    #: The largest position that the first orders can lead to, if a whole side is filled: base units, signed.
    longest: Decimal
    shortest: Decimal
    #: The larger of the two at the mid, quote units.
    exposure: Decimal | None
    needs: tuple[Need, ...]
    #: Maker's fee of one fill, basis points; None where the exchange does not tell.
    maker_fee_bps: Decimal | None
    #: What a round of a purchase and a sale has to earn to pay for its fees, basis points of the price; of a
    #: hedge, whose second half is a taker's.
    break_even_bps: Decimal | None
    #: What the innermost round earns before fees, basis points; None where one side alone is quoted, and of a
    #: hedge, which earns what the market moves meanwhile.
    round_bps: Decimal | None
    #: What limits cut, and what the strategy says.
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def sizing(context: Context, config: InstanceConfig) -> Sizing:
    """Return what the first decision of a run of `config` would come to now. Nothing is placed.

    Raises `StartRefused`, `ConfigError` (keys that are not set) and `ExchangeError`.
    """
    instance = runnable(config)
    snapshot = first_snapshot(context, config)
    said = (
        instance.strategy.preflight(snapshot, instance.params) if instance.strategy.preflight else Preflight()
    )
    decision: Decision[State] = instance.strategy.decide(snapshot, instance.strategy.state(), instance.params)
    limited = limited_plan(instance, snapshot, decision, ())
    quotes, instrument, mid = limited.plan.places, snapshot.instrument, snapshot.book.mid
    held = snapshot.net
    longest = held.high + sum((quote.quantity for quote in quotes if quote.side is Side.BUY), _ZERO)
    shortest = held.low - sum((quote.quantity for quote in quotes if quote.side is Side.SELL), _ZERO)
    terms, price, hedges = snapshot.terms, snapshot.price, instance.strategy.unwinds_at_stop
    fee_bps = None if terms is None else terms.fee_bps(instrument.market_type, is_maker=True)
    back_bps = None if terms is None else terms.fee_bps(instrument.market_type, is_maker=not hedges)
    break_even_bps = None if fee_bps is None or back_bps is None else fee_bps + back_bps
    round_bps = None if hedges else _round_bps(instance, quotes)
    needs = _needs(snapshot, quotes, max(longest, -shortest))
    problems = said.problems + ((decision.stop_reason,) if decision.stop_reason else ())
    return Sizing(
        instrument=instrument,
        mid=mid,
        min_notional=None if mid is None else instrument.min_quantity * mid,
        bids=sum(quote.side is Side.BUY for quote in quotes),
        asks=sum(quote.side is Side.SELL for quote in quotes),
        longest=longest,
        shortest=shortest,
        exposure=None if price is None else max(longest, -shortest) * price,
        needs=needs,
        maker_fee_bps=fee_bps,
        break_even_bps=break_even_bps,
        round_bps=round_bps,
        problems=tuple(dict.fromkeys(problems)),
        warnings=(
            *said.warnings,
            *(cut.sentence() for cut in limited.cuts),
            *_short(needs),
            *_unpaid(round_bps, break_even_bps),
        ),
    )


def _needs(snapshot: Snapshot, quotes: Sequence[Quote], largest: Decimal) -> tuple[Need, ...]:
    instrument = snapshot.instrument

    def need(asset: str, amount: Decimal) -> Need:
        balance = snapshot.balances.get(asset)
        return Need(asset=asset, needed=amount, available=balance.available if balance else _ZERO)

    if instrument.market_type is MarketType.PERP:
        leverage = Decimal(1) if snapshot.terms is None else snapshot.terms.leverage_limit
        return (need(instrument.quote_asset, largest * (snapshot.price or _ZERO) / leverage),)
    bids = sum((quote.quantity * quote.price for quote in quotes if quote.side is Side.BUY), _ZERO)
    asks = sum((quote.quantity for quote in quotes if quote.side is Side.SELL), _ZERO)
    return need(instrument.quote_asset, bids), need(instrument.base_asset, asks)


def _short(needs: Sequence[Need]) -> tuple[str, ...]:
    return tuple(
        said(
            "the first orders need {needed} {asset}, and {available} are available",
            needed=f"{each.needed:.6g}",
            asset=each.asset,
            available=f"{each.available:.6g}",
        )
        for each in needs
        if each.needed > each.available
    )


def _unpaid(round_bps: Decimal | None, break_even_bps: Decimal | None) -> tuple[str, ...]:
    if round_bps is None or break_even_bps is None or round_bps > break_even_bps:
        return ()
    return (
        said(
            "the innermost round is {round_bps} bps wide, and its fees come to {break_even_bps}: it loses",
            round_bps=f"{round_bps:.2f}",
            break_even_bps=f"{break_even_bps:f}",
        ),
    )


def _round_bps(instance: LoadedInstance, quotes: Sequence[Quote]) -> Decimal | None:
    """Return what lies between a purchase and the sale that belongs to it, where that is the least."""
    prices = {side: sorted(quote.price for quote in quotes if quote.side is side) for side in Side}
    if instance.strategy.fixed_levels:
        # A level's fill is traded back at the next one.
        gaps = [(high - low) / low for side in Side for low, high in pairwise(prices[side]) if low]
        return min(gaps) * BPS if gaps else None
    if not prices[Side.BUY] or not prices[Side.SELL]:
        return None
    bid, ask = prices[Side.BUY][-1], prices[Side.SELL][0]
    return (ask - bid) / ((ask + bid) / 2) * BPS
