"""`${NAME}` in files, and secrets that never leave the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runner.config import LoadedConfig, version_of

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]
Problems = Callable[..., dict[str, str]]

KEYS = {"BACKPACK_KEY": "public-hush", "BACKPACK_SECRET": "secret-hush"}


def test_variables_are_expanded_also_inside_text(load: Load, content: Json) -> None:
    content["metadata"]["name"] = "${DESK}-${REGION:-eu} maker"
    content["metadata"]["tags"] = ["${DESK}"]
    content["exchange_config"]["default_window"] = "${WINDOW:-7000}"
    content["exchange_config"]["base_url"] = "https://${HOST:-api}.example.com/"

    config = load(content, {"DESK": "a7", "WINDOW": "8000"}).config

    assert config.metadata.name == "a7-eu maker"
    assert config.metadata.tags == ("a7",)
    assert config.exchange_config.model_dump(by_alias=True)["default_window"] == 8000
    assert config.exchange_config.base_url == "https://api.example.com"


def test_an_empty_variable_counts_as_unset(load: Load, problems: Problems, content: Json) -> None:
    content["metadata"]["name"] = "${DESK:-default}"
    assert load(content, {"DESK": ""}).config.metadata.name == "default"

    content["metadata"]["name"] = "${DESK}"
    assert "variable DESK is not set" in problems(content, {"DESK": ""})["$.metadata.name"]


def test_an_unset_variable_without_default_is_named_once(problems: Problems, content: Json) -> None:
    content["exchange_config"]["default_window"] = "${WINDOW}"

    assert problems(content) == {
        "$.exchange_config.default_window": (
            "the environment variable WINDOW is not set; set it, or write ${WINDOW:-default}"
        )
    }


@pytest.mark.parametrize("text", ["${", "${A-B}", "${1}", "${}", "x ${A:b} y", "${A:-${B}"])
def test_a_malformed_variable_is_a_problem(problems: Problems, content: Json, text: str) -> None:
    content["metadata"]["name"] = text

    assert "$.metadata.name" in problems(content, {"A": "1", "B": "2"})


def test_strategy_parameters_are_not_expanded(problems: Problems, content: Json) -> None:
    content["strategy_config"]["spread"] = "${SPREAD}"

    found = problems(content, {"SPREAD": "0.2"})

    assert found == {"$.strategy_config.spread": 'is "${SPREAD}"; variables are not expanded here'}


def test_an_expanded_value_that_is_wrong_is_shown_as_it_stands_in_the_file(
    problems: Problems, content: Json
) -> None:
    content["exchange_config"]["default_window"] = "${WINDOW}"
    content["metadata"]["exchange"] = "${VENUE}"
    content["metadata"]["strategy"] = "${PLAN}"

    found = problems(content, {"WINDOW": "hush1", "VENUE": "hush2", "PLAN": "hush3"})

    assert "hush" not in str(found)
    assert len(found) == 2
    assert 'is called "${VENUE}"' in found["$.metadata.exchange"]


def test_a_stored_text_is_not_expanded_again(load: Load, content: Json) -> None:
    content["metadata"]["name"] = "${DESK}"
    config = load(content, {"DESK": "a ${DESK} b"}).config

    assert type(config).from_json(config.to_json()).metadata.name == "a ${DESK} b"


def test_secrets_are_kept_as_names_only(load: Load, content: Json) -> None:
    content["live"] = True
    loaded = load(content, KEYS)

    assert "hush" not in repr(loaded) + str(loaded.config) + loaded.config.to_json()
    assert '"secret_key":"${BACKPACK_SECRET}"' in loaded.config.to_json()
    assert version_of(loaded.config) == version_of(load(content, dict.fromkeys(KEYS, "other")).config)


@pytest.mark.parametrize(
    "value", ["c2VjcmV0LWh1c2g=", "${BACKPACK_SECRET:-hush}", "x${BACKPACK_SECRET}", "", 7, True]
)
def test_a_secret_in_the_file_is_refused_and_not_shown(
    problems: Problems, content: Json, value: object
) -> None:
    content["exchange_config"]["secret_key"] = value

    found = problems(content)

    assert list(found) == ["$.exchange_config.secret_key"]
    assert "write ${" in found["$.exchange_config.secret_key"] or value is True
    assert "hush" not in str(found)
    assert "c2Vj" not in str(found)


def test_the_value_of_a_misspelt_secret_is_not_shown(problems: Problems, content: Json) -> None:
    content["exchange_config"]["secretkey"] = "hush"

    assert problems(content) == {"$.exchange_config.secretkey": 'unknown key; did you mean "secret_key"?'}


@pytest.mark.parametrize(
    "text", ["${BACKPACK_SECRET}", "for ${BACKPACK_KEY}", "${OTHER_API_KEY:-x}", "${DB_PASSWORD}"]
)
def test_a_secret_may_not_be_expanded_into_plain_text(problems: Problems, content: Json, text: str) -> None:
    content["metadata"]["description"] = text

    found = problems(content, {**KEYS, "DB_PASSWORD": "hush"})

    assert "holds a secret" in found["$.metadata.description"]
    assert "hush" not in str(found)


def test_a_variable_that_a_secret_refers_to_is_a_secret_whatever_its_name(
    problems: Problems, content: Json
) -> None:
    content["exchange_config"]["secret_key"] = "${PLAIN}"
    content["metadata"]["name"] = "${PLAIN}"

    assert "holds a secret" in problems(content, {"PLAIN": "hush"})["$.metadata.name"]


def test_a_live_instance_needs_its_keys_and_the_error_names_the_variables(
    problems: Problems, content: Json
) -> None:
    content["live"] = True

    found = problems(content, {"BACKPACK_SECRET": " "})

    assert "BACKPACK_KEY is not set" in found["$.exchange_config.api_key"]
    assert "BACKPACK_SECRET is not set" in found["$.exchange_config.secret_key"]


def test_a_live_instance_must_say_where_its_keys_are(problems: Problems, content: Json) -> None:
    content["live"] = True
    content["exchange_config"] = {}

    assert set(problems(content)) == {"$.exchange_config.api_key", "$.exchange_config.secret_key"}
