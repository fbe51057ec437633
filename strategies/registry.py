"""Every strategy there is, and how an instance's config finds its own."""

from __future__ import annotations

from market.instrument import MarketType
from strategies import grid, maker_hedge, market_maker, perp_grid, perp_market_maker
from strategies.base import AnyStrategy

STRATEGIES: tuple[AnyStrategy, ...] = (
    market_maker.STRATEGY,
    perp_market_maker.STRATEGY,
    grid.STRATEGY,
    perp_grid.STRATEGY,
    maker_hedge.SPOT_STRATEGY,
    maker_hedge.PERP_STRATEGY,
)


class UnknownStrategy(LookupError):
    """Raised when no strategy has the name asked for, or none of that name trades the market type."""

    def __init__(self, config_name: str, market_type: MarketType) -> None:
        self.config_name = config_name
        self.market_type = market_type
        #: What could have been asked for: (name, market type) pairs, sorted.
        self.known: tuple[tuple[str, MarketType], ...] = tuple(
            sorted((strategy.config_name, kind) for strategy in STRATEGIES for kind in strategy.market_types)
        )
        choices = ", ".join(f"{name} on {kind.value}" for name, kind in self.known)
        super().__init__(f"no strategy {config_name!r} for {market_type.value} markets; there is: {choices}")


def find(config_name: str, market_type: MarketType) -> AnyStrategy:
    """Return the strategy that `metadata.strategy` names. Raises `UnknownStrategy`."""
    for strategy in STRATEGIES:
        if strategy.config_name == config_name and market_type in strategy.market_types:
            return strategy
    raise UnknownStrategy(config_name, market_type)
