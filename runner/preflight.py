"""What a strategy is shown before a run, and what it says of it."""

from __future__ import annotations

from market.instrument import MarketType
from market.snapshot import Snapshot
from runner.config import InstanceConfig
from runner.context import Context
from runner.loaded import LoadedInstance
from runner.looks import Looks
from strategies.base import Preflight


def first_snapshot(context: Context, config: InstanceConfig, looks: Looks | None = None) -> Snapshot:
    """Return what a run of `config` would find now, without orders of its own. Raises `ExchangeError`.

    What `looks` remembers is not asked again.
    """
    looks = looks or Looks(context.settings)
    venue, symbol = context.venues.of(config), config.metadata.symbol
    instrument = context.venues.instrument(config)
    now_ms = context.instances.now_ms()
    is_perp = instrument.market_type is MarketType.PERP
    return Snapshot(
        taken_at_ms=now_ms,
        started_at_ms=now_ms,
        instrument=instrument,
        book=looks.once((venue, "book", symbol), lambda: venue.order_book(symbol)),
        open_orders=(),
        balances=looks.once((venue, "balances"), venue.balances),
        position=looks.once((venue, "position", symbol), lambda: venue.position(symbol)) if is_perp else None,
        terms=looks.once((venue, "terms"), venue.account_terms),
        exclusive_symbol=config.exclusive_symbol,
    )


def look_at_change(context: Context, old: LoadedInstance, new: LoadedInstance) -> Preflight:
    """Return what the strategy says of new parameters that a start with the old ones would not be told.

    What it says of the account alone is left out: the run holds coins and margin with orders of its own.
    Where the old parameters have a problem by now, those of the new ones are warnings. Raises
    `ExchangeError`.
    """
    if new.strategy.preflight is None or old.params == new.params:
        return Preflight()
    snapshot = first_snapshot(context, new.config)
    before = new.strategy.preflight(snapshot, old.params)
    after = new.strategy.preflight(snapshot, new.params)
    known = {*before.problems, *before.warnings}
    problems = tuple(sentence for sentence in after.problems if sentence not in known)
    warnings = tuple(sentence for sentence in after.warnings if sentence not in known)
    return (
        Preflight(warnings=problems + warnings)
        if before.problems
        else Preflight(problems=problems, warnings=warnings)
    )
