"""The JSON Schema agrees with the check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from runner.config import LoadedConfig
from runner.config_schema import json_schema

Json = dict[str, Any]

ROOT = Path(__file__).parents[4]
FILES = sorted(
    path
    for folder in ("config/active", "config/templates", "tests/data/configs")
    for path in (ROOT / folder).glob("*.json")
)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_file_fits(validator: Draft202012Validator, path: Path) -> None:
    assert not list(validator.iter_errors(json.loads(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("strategy_config", "spread", 0),
        ("strategy_config", "spread", None),
        ("strategy_config", "max_orders", 2.5),
        ("strategy_config", "interval", 0.1),
        ("strategy_config", "spred", 1),
        ("strategy_config", "grid_num", 10),
        ("strategy_config", "layer_spacing", "steps"),
        ("metadata", "strategy", "standart"),
        ("metadata", "market_type", "future"),
        ("metadata", "instance_id", "../x"),
        ("metadata", "nmae", "x"),
        ("exchange_config", "api_key", "literal"),
        ("exchange_config", "api_key", "${BACKPACK_KEY:-literal}"),
        ("exchange_config", "default_window", 100),
        ("exchange_config", "zk_seeds", "${SEEDS}"),
        ("daemon_config", "web_port", "many"),
        ("stop", "orders", "drop"),
    ],
)
def test_what_the_check_refuses_does_not_fit(
    validator: Draft202012Validator,
    problems: Callable[..., dict[str, str]],
    content: Json,
    section: str,
    key: str,
    value: object,
) -> None:
    content.setdefault(section, {})[key] = value

    assert problems(content)
    assert list(validator.iter_errors(content))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("strategy_config", "spread", "0.2"),
        ("strategy_config", "max_orders", "4"),
        ("strategy_config", "interval", 0.25),
        ("strategy_config", "duration", None),
        ("strategy_config", "base_asset_target_percentage", 20),
        ("strategy_config", "stop_loss", 25),
        ("exchange_config", "default_window", "${WINDOW:-5000}"),
        ("daemon_config", "web_port", "5001"),
        ("metadata", "tags", ["a"]),
    ],
)
def test_what_the_check_accepts_fits(
    validator: Draft202012Validator,
    load: Callable[..., LoadedConfig],
    content: Json,
    section: str,
    key: str,
    value: object,
) -> None:
    content.setdefault(section, {})[key] = value

    load(content)
    assert not list(validator.iter_errors(content))


def test_a_file_may_leave_its_name_out(
    validator: Draft202012Validator, load: Callable[..., LoadedConfig], content: Json
) -> None:
    del content["metadata"]["instance_id"]

    load(content)
    assert not list(validator.iter_errors(content))


def test_a_file_may_name_the_schema_for_editors(
    validator: Draft202012Validator, load: Callable[..., LoadedConfig], content: Json
) -> None:
    content["$schema"] = "../schema.json"

    load(content)
    assert not list(validator.iter_errors(content))


def test_every_parameter_of_the_market_maker_has_a_description() -> None:
    chosen = [
        branch["then"]["properties"]["strategy_config"]
        for branch in json_schema()["allOf"]
        if branch["if"]["properties"]["metadata"]["properties"].get("strategy") == {"const": "standard"}
        and branch["if"]["properties"]["metadata"]["properties"]["market_type"] == {"const": "spot"}
    ]

    assert len(chosen) == 1
    assert all("description" in its for its in chosen[0]["properties"].values())
    assert chosen[0]["properties"]["interval"]["default"] == "60"
