from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from market.instrument import MarketType
from runner.config_schema import strategy_schema
from strategies.registry import STRATEGIES, UnknownStrategy

CASES = [(each.config_name, kind) for each in STRATEGIES for kind in sorted(each.market_types)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_strategy_says_what_it_takes(name: str, kind: MarketType) -> None:
    schema = strategy_schema(name, kind)
    Draft202012Validator.check_schema(schema)
    assert {"refresh_tolerance_bps", "interval"} <= schema["properties"].keys()
    described = [each for each in schema["properties"].values() if each.get("description")]
    assert len(described) >= len(schema["properties"]) - 1


def test_a_wrong_value_does_not_fit() -> None:
    validator = Draft202012Validator(strategy_schema("standard", MarketType.SPOT))
    good = {"spread": "0.2", "quantity": "1"}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "spread": -1})
    assert not validator.is_valid({**good, "spraed": 1})


def test_a_strategy_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownStrategy):
        strategy_schema("nobody", MarketType.SPOT)
