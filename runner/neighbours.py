"""Other instances that work on the same position of the same account."""

from __future__ import annotations

from pydantic_core import from_json

from market.instrument import MarketType
from runner.context import Context
from runner.loaded import LoadedInstance
from state.record import Phase
from strategies.registry import UnknownStrategy, find


def shared_hedge(context: Context, loaded: LoadedInstance, account: str) -> tuple[str, ...]:
    """Return a warning where another hedge shares the perpetual position of `loaded`, else nothing.

    A perpetual has one position per account, and each of them would bring back its own part of it with orders
    that may only reduce the whole.
    """
    config = loaded.config
    if not loaded.strategy.unwinds_at_stop or config.market_type is not MarketType.PERP:
        return ()
    beside = [
        record.instance_id
        for record in context.instances.read_all(lambda *_: None)
        if record.account == account
        and record.instance_id != config.instance_id
        and record.phase is not Phase.STOPPED
        and _hedges(context.instances.config_json(record.instance_id), config.metadata.symbol)
    ]
    if not beside:
        return ()
    return (
        f"{', '.join(beside)} hedges in {config.metadata.symbol} of the same account, too: they share one "
        "position, and what one has bought the sale of the other may use up, so that a stop may not bring "
        "back its own part; give each a symbol or a subaccount of its own",
    )


def _hedges(config_json: str, symbol: str) -> bool:
    """Tell whether a stored configuration is that of a hedge in `symbol`; not where it cannot be read."""
    try:
        metadata = from_json(config_json)["metadata"]
        strategy = find(metadata["strategy"], MarketType(metadata["market_type"]))
        return strategy.unwinds_at_stop and metadata["symbol"] == symbol
    except (ValueError, KeyError, TypeError, UnknownStrategy):
        return False
