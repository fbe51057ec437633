"""An instance's config finds its strategy, or learns what there is."""

from __future__ import annotations

import pytest

from market.instrument import MarketType
from strategies import market_maker, registry
from strategies.base import AnyStrategy
from strategies.registry import STRATEGIES, UnknownStrategy, find


def test_standard_on_spot_is_the_market_maker() -> None:
    found = find("standard", MarketType.SPOT)
    assert (found.title, found.decide) == ("MarketMaker", market_maker.decide)


@pytest.mark.parametrize(
    ("name", "market_type"),
    [("standrad", MarketType.SPOT), ("no_such", MarketType.PERP), ("", MarketType.SPOT)],
)
def test_an_unknown_strategy_is_refused_with_the_known_ones(name: str, market_type: MarketType) -> None:
    with pytest.raises(UnknownStrategy) as caught:
        find(name, market_type)
    assert ("standard", MarketType.SPOT) in caught.value.known
    assert "standard on spot" in str(caught.value)
    assert repr(name) in str(caught.value)


def test_a_known_name_is_refused_on_a_market_it_does_not_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "STRATEGIES", (market_maker.STRATEGY,))
    with pytest.raises(UnknownStrategy, match="for perp markets"):
        find("standard", MarketType.PERP)


def test_no_two_strategies_answer_to_one_name_and_market_type() -> None:
    answers = [(each.config_name, kind) for each in STRATEGIES for kind in each.market_types]
    assert len(answers) == len(set(answers))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: str(strategy.title))
def test_a_fresh_state_of_every_strategy_survives_json(strategy: AnyStrategy) -> None:
    fresh = strategy.state()
    assert strategy.state.model_validate_json(fresh.model_dump_json()) == fresh
