"""New files from templates."""

from __future__ import annotations

import json

import pytest

from runner.config import read_layout
from runner.config_errors import ConfigError
from runner.templates import from_template, template_names, with_value

SYMBOLS = {"spot": "ETH_USDC", "perp": "ETH_USDC_PERP"}


@pytest.mark.parametrize("name", template_names())
def test_every_template_makes_a_valid_file_of_another_name_and_market(name: str) -> None:
    symbol = SYMBOLS[name.rpartition("_")[2]]
    layout = from_template(name, "new_01", symbol=symbol)
    config = read_layout(json.dumps(layout), "new_01", {})
    assert (config.instance_id, config.metadata.symbol, config.live) == ("new_01", symbol, False)
    assert config.metadata.description == ""


def test_a_template_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        from_template("market_maker_spo", "new_01")


@pytest.mark.parametrize(
    ("place", "text", "section", "key", "value"),
    [
        ("spread", "0.4", "strategy_config", "spread", 0.4),
        ("limits.max_position", "3", "limits", "max_position", 3),
        ("layer_spacing", "ticks", "strategy_config", "layer_spacing", "ticks"),
        ("duration", "null", "strategy_config", "duration", None),
    ],
)
def test_a_typed_value_goes_to_its_section(
    place: str, text: str, section: str, key: str, value: object
) -> None:
    before = {"strategy_config": {"interval": 1}}
    after = with_value(before, place, text)
    assert after[section][key] == value
    assert after["strategy_config"]["interval"] == 1
    assert before == {"strategy_config": {"interval": 1}}


def test_keys_beside_the_sections_stay_beside_them() -> None:
    assert with_value({}, "exclusive_symbol", "true") == {"exclusive_symbol": True}
