"""What a configuration says of an instance, as far as lists show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.access import market_venue
from runner.config import InstanceConfig, version_of


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a configuration says of an instance."""

    strategy: str = ""
    symbol: str = ""
    exchange: str = ""
    live: bool | None = None
    version: str = ""
    #: Name under which a feed keeps its market.
    venue: str = ""
    #: Canonical, names of variables in place of secrets; empty: none that can be used.
    config_json: str = ""
    #: What is wrong with the file, empty when nothing is.
    problem: str = ""


def traits_of(config: InstanceConfig) -> Traits:
    metadata = config.metadata
    return Traits(
        strategy=metadata.strategy,
        symbol=metadata.symbol,
        exchange=metadata.exchange,
        live=config.live,
        version=version_of(config),
        venue=market_venue(config),
        config_json=config.to_json(),
    )


def shown(traits: Traits) -> dict[str, Any]:
    return {
        "strategy": traits.strategy,
        "symbol": traits.symbol,
        "exchange": traits.exchange,
        "live": traits.live,
        "config_version": traits.version,
    }
