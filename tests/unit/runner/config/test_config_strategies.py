"""Strategies and exchanges of the old program that are checked and not run yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from exchanges.registry import VENUES
from runner.config import LoadedConfig
from runner.config_exchanges import EXCHANGES, RUNNABLE_EXCHANGES, SECRET_KEYS
from runner.config_variables import SecretRef

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]
Problems = Callable[..., dict[str, str]]

GRID = {"grid_upper_price": 135, "grid_lower_price": "121"}


def as_strategy(content: Json, name: str, market_type: str, params: Json) -> Json:
    symbol = "SOL_USDC_PERP" if market_type == "perp" else "SOL_USDC"
    metadata = {**content["metadata"], "strategy": name, "market_type": market_type, "symbol": symbol}
    return {**content, "metadata": metadata, "strategy_config": params}


@pytest.mark.parametrize(
    ("name", "market_type", "params"),
    [
        ("grid", "spot", {**GRID, "auto_borrow": False, "quantity": 0.1}),
        ("grid", "spot", {"auto_price_range": True, "price_range_percent": 5}),
        ("perp_grid", "perp", {"grid_upper": 135, "grid_lower": 121, "boundary_action": "stop_only"}),
        ("maker_hedge", "spot", {"max_position": 2, "quantity": 1}),
        ("maker_hedge", "perp", {"quantity": 1, "stop_loss": -25}),
        ("standard", "perp", {"spread": 0.1, "inventory_skew": 0.002, "max_position": 3}),
    ],
)
def test_every_strategy_of_the_old_program_is_accepted_with_its_old_keys(
    load: Load, content: Json, name: str, market_type: str, params: Json
) -> None:
    loaded = load(as_strategy(content, name, market_type, params))

    assert loaded.config.runnable
    assert loaded.warnings == ()
    assert type(loaded.config).from_json(loaded.config.to_json()) == loaded.config


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({**GRID, "grid_num": 1}, ".grid_num"),
        ({**GRID, "grid_num": 201}, ".grid_num"),
        ({**GRID, "grid_mode": "linear"}, ".grid_mode"),
        ({**GRID, "grid_type": "both"}, ".grid_type"),
        ({**GRID, "boundary_tolerance": 1.1}, ".boundary_tolerance"),
        ({**GRID, "max_position": 0}, ".max_position"),
        ({**GRID, "hedge_tolerance": 0.1}, ".hedge_tolerance"),
        ({**GRID, "gird_num": 10}, ".gird_num"),
        ({"grid_upper_price": 121, "grid_lower_price": 121}, ""),
        ({"grid_upper_price": 121}, ""),
        ({"grid_upper_price": -1, "grid_lower_price": 2}, ".grid_upper_price"),
    ],
)
def test_its_parameters_are_checked_all_the_same(
    problems: Problems, content: Json, params: Json, path: str
) -> None:
    assert list(problems(as_strategy(content, "perp_grid", "perp", params))) == [f"$.strategy_config{path}"]


def test_a_key_that_a_hedge_never_used_passes_with_a_warning(load: Load, content: Json) -> None:
    """Files of the old program have to have a spread, which its hedge did not look at."""
    loaded = load(as_strategy(content, "maker_hedge", "spot", {"spread": 0.1, "quantity": 1}))

    assert loaded.warnings == ("strategy_config.spread has no effect: quotes stand at the best prices",)


def test_a_parameter_of_another_strategy_says_whose_it_is(problems: Problems, content: Json) -> None:
    content["strategy_config"]["grid_num"] = 25

    message = problems(content)["$.strategy_config.grid_num"]

    assert "it belongs to" in message
    assert "grid on spot" in message


@pytest.mark.parametrize(
    ("market_type", "key", "value", "advice"),
    [
        ("spot", "target_position", 1, "base_asset_target"),
        ("spot", "max_position", 1, "base_asset_target"),
        ("spot", "position_threshold", 0.1, "base_asset_target"),
        ("spot", "leverage", 2, "trades what it holds"),
        ("spot", "stop_loss", -25, "limits.max_daily_loss"),
        ("spot", "take_profit", 50, "limits.max_daily_loss"),
        ("perp", "enable_rebalance", True, "target_position"),
        ("perp", "base_asset_target", 30, "target_position"),
        ("perp", "base_asset_target_percentage", 30, "target_position"),
        ("perp", "rebalance_threshold", 15, "target_position"),
    ],
)
def test_an_older_key_of_the_other_market_has_no_effect_and_says_so(
    load: Load, content: Json, market_type: str, key: str, value: object, advice: str
) -> None:
    plain = load(as_strategy(content, "standard", market_type, {"spread": 0.2}))
    loaded = load(as_strategy(content, "standard", market_type, {"spread": 0.2, key: value}))

    [warning] = loaded.warnings
    assert warning.startswith(f"strategy_config.{key} has no effect: ")
    assert advice in warning
    assert loaded.config.strategy_config == plain.config.strategy_config
    assert type(loaded.config).from_json(loaded.config.to_json()) == loaded.config


def test_an_unknown_strategy_brings_a_suggestion(problems: Problems, content: Json) -> None:
    content["metadata"]["strategy"] = "perpgrid"

    assert problems(content) == {
        "$.metadata.strategy": 'no strategy is called "perpgrid"; did you mean "perp_grid"?'
    }


def test_a_strategy_on_the_wrong_market_says_where_it_runs(problems: Problems, content: Json) -> None:
    found = problems(as_strategy(content, "grid", "perp", GRID))

    assert found == {
        "$.metadata.strategy": '"grid" runs on spot markets, not on perp; did you mean "perp_grid"?'
    }


def test_another_exchanges_file_is_checked_with_its_own_keys(
    load: Load, problems: Problems, content: Json
) -> None:
    content["metadata"]["exchange"] = "lighter"
    content["exchange_config"] = {"api_private_key": "${LIGHTER_PRIVATE_KEY}", "account_index": "3"}

    loaded = load(content)

    assert not loaded.config.runnable
    assert loaded.warnings == ("this version cannot trade on lighter yet: the file is only checked",)
    content["exchange_config"]["zk_seeds"] = "hush"
    assert "it belongs to apex" in problems(content)["$.exchange_config.zk_seeds"]


def test_runnable_exchanges_are_those_with_an_adapter() -> None:
    assert set(VENUES) == RUNNABLE_EXCHANGES


def test_every_secret_of_every_exchange_is_treated_as_one() -> None:
    secrets = {
        key
        for model in EXCHANGES.values()
        for key, info in model.model_fields.items()
        if SecretRef in getattr(info.annotation, "__args__", ()) or "SecretRef" in str(info.annotation)
    }

    assert secrets == SECRET_KEYS
