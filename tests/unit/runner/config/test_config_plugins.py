"""Instance files of strategies that other packages bring."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.config import LoadedConfig
from runner.config_schema import json_schema
from tests.plugin_packages import Installer, installing, module

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]
Problems = Callable[..., dict[str, str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Install packages for this test."""
    folder = tmp_path / "site"
    folder.mkdir()
    with installing(folder, monkeypatch) as installer:
        yield installer


def test_its_parameters_are_checked_and_stored(load: Load, content: Json, install: Installer) -> None:
    install("quoters", module())
    content["metadata"]["strategy"] = "my_quoter"
    content["strategy_config"] = {"width_bps": 7, "interval": 2}

    loaded = load(content)

    assert loaded.config.runnable
    assert loaded.config.strategy_config.params.model_dump()["width_bps"] == 7
    assert type(loaded.config).from_json(loaded.config.to_json()) == loaded.config


def test_its_keys_are_told_apart_from_others(problems: Problems, content: Json, install: Installer) -> None:
    install("quoters", module())
    content["strategy_config"]["width_bps"] = 7

    message = problems(content)["$.strategy_config.width_bps"]

    assert "it belongs to my_quoter on spot" in message


def test_a_mistyped_name_brings_its_name_as_a_suggestion(
    problems: Problems, content: Json, install: Installer
) -> None:
    install("quoters", module())
    content["metadata"]["strategy"] = "my_qoter"

    assert "my_quoter" in problems(content)["$.metadata.strategy"]


def test_a_broken_one_says_why(problems: Problems, content: Json, install: Installer) -> None:
    install("quoters", "import no_such_module_at_all")
    content["metadata"]["strategy"] = "my_quoter"

    message = problems(content)["$.metadata.strategy"]

    assert 'is "my_quoter": entry point my_quoter = quoters:STRATEGY of quoters 1.2 cannot be used' in message
    assert "no_such_module_at_all" in message


def test_a_broken_one_does_not_concern_other_files(load: Load, content: Json, install: Installer) -> None:
    install("quoters", "import no_such_module_at_all")

    assert load(content).config.runnable


def test_a_file_in_order_of_a_built_in_strategy_imports_no_other(
    load: Load, content: Json, install: Installer
) -> None:
    install("quoters", module())

    load(content)

    assert "quoters" not in sys.modules


def test_editors_know_it(install: Installer) -> None:
    install("quoters", module())

    schema = json_schema()

    assert "my_quoter" in schema["properties"]["metadata"]["properties"]["strategy"]["enum"]
