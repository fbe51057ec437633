"""From a file to an `InstanceConfig`, and back from its canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from runner.config import ConfigError, InstanceConfig, LoadedConfig, instance_ids, load_instance, version_of

ROOT = Path(__file__).parents[4]

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]
Problems = Callable[..., dict[str, str]]


def test_the_old_programs_file_is_accepted_unchanged() -> None:
    loaded = load_instance("bp_sol_01", ROOT / "tests/data/configs", {})

    config = loaded.config
    assert config.strategy_config.interval_ms == 60_000
    assert config.strategy_config.duration_ms == 86_400_000
    assert config.exchange_config.model_dump()["window_ms"] == 5001
    assert config.strategy_config.params.model_dump()["boundary_tolerance"] == Decimal("0.001")
    assert not config.live
    assert config.runnable


def test_the_old_programs_file_brings_one_warning_per_matter() -> None:
    warnings = load_instance("bp_sol_01", ROOT / "tests/data/configs", {}).warnings

    assert len(warnings) == 2
    assert "simulated exchange" in warnings[0]
    for key in ("python_path", "script_path", "web_port", "db_path", "auto_restart", "log_retention_days"):
        assert key in warnings[1]


def test_the_demo_instance_runs_and_says_nothing() -> None:
    loaded = load_instance("bp_sol_01", ROOT / "config/active", {})

    assert loaded.config.runnable
    assert loaded.warnings == ()
    assert loaded.config.strategy_config.interval_ms == 1000


@pytest.mark.parametrize(
    "path", sorted((ROOT / "config/templates").glob("*.json")), ids=lambda path: path.stem
)
def test_every_template_is_in_order(path: Path) -> None:
    assert load_instance(path.stem, path.parent, {}).config.runnable


def test_missing_keys_of_ours_have_the_safe_values(load: Load, content: Json) -> None:
    del content["live"], content["exchange_config"]

    config = load(content).config

    assert not config.live
    assert not config.exclusive_symbol
    assert (config.stop.orders, config.stop.position) == ("cancel", "keep")
    assert config.strategy_config.interval_s == 60
    assert config.strategy_config.duration_ms is None


def test_numbers_stay_exact_and_may_stand_in_quotes(load: Load, content: Json) -> None:
    text = json.dumps(content).replace("0.2", '0.1000000000000000055, "quantity": "0.30", "max_orders": "4"')

    params = load(text).config.strategy_config.params.model_dump()

    assert str(params["spread"]) == "0.1000000000000000055"
    assert params["quantity"] == Decimal("0.30")
    assert params["max_orders"] == 4


def test_an_interval_may_be_a_fraction_of_a_second(load: Load, content: Json) -> None:
    content["strategy_config"]["interval"] = 0.25

    assert load(content).config.strategy_config.interval_ms == 250


def test_every_problem_is_told_at_once_with_value_and_range(problems: Problems, content: Json) -> None:
    content["metadata"]["exchange"] = "backpak"
    content["strategy_config"] = {"spread": -1, "max_ordrs": 2, "interval": "0.1", "quantity": "many"}
    content["stop"] = {"orders": "drop"}
    content["lives"] = True
    content["daemon_config"] = {"web_prt": 1}

    found = problems(content)

    assert found["$.metadata.exchange"] == 'no exchange is called "backpak"; did you mean "backpack"?'
    assert "is -1; must be a number above 0 and at most 100" in found["$.strategy_config.spread"]
    assert found["$.strategy_config.max_ordrs"] == 'unknown key; did you mean "max_orders"?'
    assert 'is "0.1"; must be a number at least 0.2 and at most 86400' in found["$.strategy_config.interval"]
    assert 'is "many"; must be a number above 0 or null' in found["$.strategy_config.quantity"]
    assert 'is "drop"; must be "cancel" or "keep"' in found["$.stop.orders"]
    assert found["$.lives"] == 'unknown key; did you mean "live"?'
    assert found["$.daemon_config.web_prt"] == 'unknown key; did you mean "web_port"?'
    assert len(found) == 8


def test_the_message_names_file_and_path(load: Load, content: Json, tmp_path: Path) -> None:
    content["strategy_config"]["spread"] = 0

    with pytest.raises(ConfigError) as caught:
        load(content)

    assert str(caught.value).startswith(
        f"{tmp_path}/mm_01.json: 1 problem\n  $.strategy_config.spread: is 0; "
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("strategy_config", "max_orders", True),
        ("strategy_config", "spread", True),
        ("strategy_config", "enable_rebalance", 1),
        ("strategy_config", "enable_rebalance", "yes"),
        ("strategy_config", "max_orders", 2.5),
        ("strategy_config", "spread", None),
        ("strategy_config", "spread", "NaN"),
        ("strategy_config", "quantity", "1e999999"),
        ("strategy_config", "quantity", [1]),
        ("metadata", "symbol", "SOL USDC"),
        ("metadata", "symbol", "SOL_USDC\n"),
        ("metadata", "market_type", "future"),
        ("metadata", "tags", "one"),
        ("metadata", "version", 1),
        ("exchange_config", "default_window", 999),
        ("exchange_config", "default_window", "60001"),
        ("exchange_config", "api_version", "v2"),
        ("exchange_config", "base_url", "http://api.example.com"),
        ("exchange_config", "base_url", "https://user:hush@api.example.com"),
        ("exchange_config", "base_url", "https://[::1"),
        ("daemon_config", "web_port", True),
    ],
)
def test_a_value_that_pydantic_or_the_old_program_might_let_pass_is_refused(
    problems: Problems, content: Json, section: str, key: str, value: object
) -> None:
    content.setdefault(section, {})[key] = value

    found = problems(content)

    assert list(found) == [f"$.{section}.{key}"]
    assert "hush" not in str(found)


@pytest.mark.parametrize("section", ["metadata", "strategy_config"])
@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_a_section_that_is_no_object_is_one_problem(
    problems: Problems, content: Json, section: str, value: object
) -> None:
    content[section] = value

    assert problems(content) == {f"$.{section}": "must be an object { … }"}


def test_a_section_that_is_missing_is_one_problem(problems: Problems, content: Json) -> None:
    del content["metadata"]

    assert problems(content) == {"$.metadata": "is missing; must be an object { … }"}


def test_the_old_flat_form_is_recognised(problems: Problems, content: Json) -> None:
    content["bot_args"] = ["--spread", "0.2"]

    assert "old flat form" in problems(content)["$"]


def test_symbol_and_market_type_must_agree(problems: Problems, content: Json) -> None:
    content["metadata"]["symbol"] = "SOL_USDC_PERP"

    assert "perpetuals end in _PERP" in problems(content)["$.metadata"]


def test_rules_between_keys_of_a_strategy_are_told(problems: Problems, content: Json) -> None:
    content["strategy_config"]["layer_spacing"] = "bps"

    assert "layer_step_bps" in problems(content)["$.strategy_config"]


def test_a_key_under_both_its_names_is_refused(problems: Problems, content: Json) -> None:
    content["strategy_config"].update(base_asset_target=20, base_asset_target_percentage=30)

    assert "keep one" in problems(content)["$.strategy_config.base_asset_target_percentage"]


@pytest.mark.parametrize(
    ("stop", "path"),
    [
        ({"position": "close"}, "$.stop.position"),
        ({"position": "close", "orders": "keep"}, "$.stop"),
    ],
)
def test_a_stop_that_cannot_be_done_is_refused(
    problems: Problems, content: Json, stop: dict[str, str], path: str
) -> None:
    content["stop"] = stop

    assert list(problems(content)) == [path]


def test_closing_the_position_needs_the_symbol_to_itself(
    load: Load, problems: Problems, content: Json
) -> None:
    content["metadata"].update(symbol="SOL_USDC_PERP", market_type="perp")
    content["stop"] = {"position": "close"}

    assert "exclusive_symbol" in problems(content)["$.stop.position"]
    assert load({**content, "exclusive_symbol": True}).config.stop.position == "close"


def test_the_instance_must_be_called_like_its_file(problems: Problems, content: Json) -> None:
    content["metadata"]["instance_id"] = "mm_02"

    assert problems(content) == {"$.metadata.instance_id": 'is "mm_02"; must be "mm_01", like the file'}


def test_without_an_instance_id_the_files_name_is_taken(load: Load, content: Json) -> None:
    del content["metadata"]["instance_id"]

    assert load(content).config.instance_id == "mm_01"


@pytest.mark.parametrize(
    "instance_id",
    ["", "../mm_01", "a/b", "a\\b", ".mm", "-mm", "mm 01", "mm\n", "mm_01.json", "é", "a" * 65, "a\0"],
)
def test_a_bad_id_is_refused_before_the_disk_is_touched(instance_id: str) -> None:
    no_path = cast("Path", object())

    with pytest.raises(ConfigError, match="is no instance id"):
        load_instance(instance_id, no_path, {})


def test_a_missing_file_names_what_there_is(load: Load, content: Json, tmp_path: Path) -> None:
    load(content)

    with pytest.raises(ConfigError, match=r'mm_1\.json.*\n.*did you mean "mm_01"\? There is: mm_01$'):
        load_instance("mm_1", tmp_path, {})
    assert instance_ids(tmp_path) == ("mm_01",)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CLEANBOOK_CONFIG_DIR"):
        load_instance("mm_01", tmp_path / "nowhere", {})


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "mm_01.json").mkdir()
    (tmp_path / "mm_02.json").write_bytes(b'{"name": "\xff"}')

    with pytest.raises(ConfigError, match="cannot be read"):
        load_instance("mm_01", tmp_path, {})
    with pytest.raises(ConfigError, match="UTF-8"):
        load_instance("mm_02", tmp_path, {})


def test_the_canonical_json_reads_back_as_the_same(load: Load, content: Json) -> None:
    content["strategy_config"].update(
        spread=0.05, quantity="0.5", duration=1.5, base_asset_target_percentage=20
    )
    config = load(content).config

    again = InstanceConfig.from_json(config.to_json())

    assert again == config
    assert version_of(again) == version_of(config)


def test_the_canonical_json_of_the_old_file_reads_back_as_the_same() -> None:
    config = load_instance("bp_sol_01", ROOT / "tests/data/configs", {}).config

    assert InstanceConfig.from_json(config.to_json()) == config


def test_each_version_has_its_name(load: Load, content: Json) -> None:
    before = version_of(load(content).config)
    content["strategy_config"]["spread"] = 0.3

    assert version_of(load(content).config) != before


def test_what_has_no_effect_makes_no_new_version(load: Load, content: Json) -> None:
    before = version_of(load(content).config)
    content["daemon_config"] = {"web_port": 5001}

    assert version_of(load(content).config) == before


def test_a_stored_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="the stored configuration"):
        InstanceConfig.from_json('{"metadata": {}}')


def test_a_configuration_cannot_be_changed(load: Load, content: Json) -> None:
    config = load(content).config

    with pytest.raises(ValueError, match="frozen"):
        config.live = True
