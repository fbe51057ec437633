"""The section `limits` of an instance's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from runner.config import InstanceConfig, LoadedConfig, version_of
from runner.config_schema import json_schema
from strategies.limits import Limits

ROOT = Path(__file__).parents[4]

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]
Problems = Callable[..., dict[str, str]]

#: Every key there is, each in its range.
ALL: Json = {
    "max_position": "2.5",
    "max_order_notional": 500,
    "max_open_orders": 20,
    "max_orders_per_minute": 120,
    "price_band_bps": 150,
    "max_data_age_s": 2.5,
    "min_balance": 100,
    "max_daily_loss": "25",
    "max_consecutive_errors": 5,
}


def test_without_the_section_there_are_no_limits(load: Load, content: Json) -> None:
    assert load(content).config.limits == Limits()
    assert set(Limits().model_dump().values()) == {None}


def test_every_limit_is_read_exactly(load: Load, content: Json) -> None:
    assert set(ALL) == set(Limits.model_fields)

    limits = load({**content, "limits": ALL}).config.limits

    assert limits.max_position == Decimal("2.5")
    assert limits.max_data_age_s == Decimal("2.5")
    assert limits.max_open_orders == 20
    assert all(value is not None for value in limits.model_dump().values())


def test_the_canonical_json_keeps_them(load: Load, content: Json) -> None:
    config = load({**content, "limits": ALL}).config

    assert InstanceConfig.from_json(config.to_json()) == config


def test_a_configuration_stored_before_there_were_limits_still_loads(load: Load, content: Json) -> None:
    config = load(content).config
    stored = json.loads(config.to_json())
    del stored["limits"]

    assert InstanceConfig.from_json(json.dumps(stored)) == config


def test_a_changed_limit_makes_a_new_version(load: Load, content: Json) -> None:
    before = version_of(load(content).config)

    assert version_of(load({**content, "limits": {"max_open_orders": 3}}).config) != before


def test_every_problem_is_told_with_its_range(problems: Problems, content: Json) -> None:
    content["limits"] = {
        "max_positon": 1,
        "max_open_orders": 0,
        "max_orders_per_minute": 2.5,
        "price_band_bps": 10_001,
        "max_data_age_s": True,
        "max_daily_loss": "-25",
        "min_balance": "much",
    }

    found = problems(content)

    assert found["$.limits.max_positon"] == 'unknown key; did you mean "max_position"?'
    assert "is 0; must be a whole number at least 1 and at most 1000" in found["$.limits.max_open_orders"]
    assert "is 2.5; must be a whole number" in found["$.limits.max_orders_per_minute"]
    assert "must be a number above 0 and at most 10000 or null" in found["$.limits.price_band_bps"]
    assert "is true; must be a number" in found["$.limits.max_data_age_s"]
    assert 'is "-25"; must be a number above 0 or null' in found["$.limits.max_daily_loss"]
    assert 'is "much"; must be a number' in found["$.limits.min_balance"]
    assert len(found) == 7


@pytest.mark.parametrize("value", [None, [], "none", 3])
def test_a_section_that_is_no_object_is_one_problem(problems: Problems, content: Json, value: object) -> None:
    content["limits"] = value

    assert problems(content) == {"$.limits": "must be an object { … }"}


@pytest.mark.parametrize(("key", "value"), [*ALL.items(), ("max_position", None)])
def test_the_schema_accepts_what_the_check_accepts(
    load: Load, content: Json, key: str, value: object
) -> None:
    content["limits"] = {key: value}

    load(content)
    assert not list(Draft202012Validator(json_schema()).iter_errors(content))


@pytest.mark.parametrize(("key", "value"), [("max_open_orders", 0), ("max_daily_loss", 0), ("max_loss", 5)])
def test_the_schema_refuses_what_the_check_refuses(
    problems: Problems, content: Json, key: str, value: object
) -> None:
    content["limits"] = {key: value}

    assert problems(content)
    assert list(Draft202012Validator(json_schema()).iter_errors(content))


def test_every_limit_is_described_and_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")

    assert all(info.description for info in Limits.model_fields.values())
    assert all(f"| `{key}` |" in text for key in Limits.model_fields)
