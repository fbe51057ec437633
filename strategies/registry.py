"""Every strategy there is, and how an instance's config finds its own.

Those of this distribution are listed here; other packages add theirs by entry points (`plugins`).
"""

from __future__ import annotations

from collections.abc import Iterable

from market.instrument import MarketType
from strategies import grid, maker_hedge, market_maker, perp_grid, perp_market_maker, two_sided
from strategies.base import AnyStrategy
from strategies.plugins import BrokenPlugin, Plugins, load_plugins

STRATEGIES: tuple[AnyStrategy, ...] = (
    market_maker.STRATEGY,
    perp_market_maker.STRATEGY,
    grid.STRATEGY,
    perp_grid.STRATEGY,
    maker_hedge.SPOT_STRATEGY,
    maker_hedge.PERP_STRATEGY,
    two_sided.STRATEGY,
)


class UnknownStrategy(LookupError):
    """Raised when no strategy has the name asked for, or none of that name trades the market type."""

    def __init__(self, config_name: str, market_type: MarketType) -> None:
        self.config_name = config_name
        self.market_type = market_type
        #: What could have been asked for: (name, market type) pairs, sorted.
        self.known: tuple[tuple[str, MarketType], ...] = tuple(
            sorted(
                (strategy.config_name, kind)
                for strategy in all_strategies()
                for kind in strategy.market_types
            )
        )
        choices = ", ".join(f"{name} on {kind.value}" for name, kind in self.known)
        super().__init__(f"no strategy {config_name!r} for {market_type.value} markets; there is: {choices}")


class BrokenStrategy(LookupError):
    """Raised when the strategy asked for belongs to an entry point that cannot be used."""

    def __init__(self, config_name: str, plugin: BrokenPlugin) -> None:
        self.config_name = config_name
        self.plugin = plugin
        super().__init__(plugin.sentence())


def all_strategies() -> tuple[AnyStrategy, ...]:
    """Return every strategy that can be used, those of this distribution first."""
    return (*STRATEGIES, *_plugins().strategies)


def broken_strategies() -> tuple[BrokenPlugin, ...]:
    """Return the entry points that cannot be used, with the reasons."""
    return _plugins().broken


def find(config_name: str, market_type: MarketType) -> AnyStrategy:
    """Return the strategy that `metadata.strategy` names. Raises `UnknownStrategy` or `BrokenStrategy`.

    A strategy of this distribution is found without a look at any other package.
    """
    strategy = _named(STRATEGIES, config_name, market_type)
    strategy = strategy or _named(_plugins().strategies, config_name, market_type)
    if strategy is not None:
        return strategy
    for plugin in _plugins().broken:
        if config_name in plugin.names:
            raise BrokenStrategy(config_name, plugin)
    raise UnknownStrategy(config_name, market_type)


def _named(
    strategies: Iterable[AnyStrategy], config_name: str, market_type: MarketType
) -> AnyStrategy | None:
    for strategy in strategies:
        if strategy.config_name == config_name and market_type in strategy.market_types:
            return strategy
    return None


def _plugins() -> Plugins:
    return load_plugins(STRATEGIES)
