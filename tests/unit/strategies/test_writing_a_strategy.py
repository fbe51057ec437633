"""What the documentation says of writing a strategy is what happens."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from market.instrument import MarketType
from runner.config import load_instance
from strategies import two_sided
from strategies.registry import broken_strategies, find
from tests.plugin_packages import installing

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/writing-a-strategy.md").read_text(encoding="utf-8")
EXAMPLE = Path(two_sided.__file__).read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the copy of the example with the entry points of the page's pyproject.toml."""
    project = tomllib.loads(blocks("toml")[0])
    lines = [
        f"{name} = {value}"
        for name, value in project["project"]["entry-points"]["cleanbook.strategies"].items()
    ]
    (module_name,) = project["tool"]["setuptools"]["py-modules"]
    text = EXAMPLE.replace('"TwoSidedQuoter"', '"MyQuoter"').replace('"two_sided"', '"my_quoter"')
    with installing(tmp_path, monkeypatch) as install:
        install(module_name, text, *lines)
        yield


def test_the_code_it_walks_through_is_that_of_the_example() -> None:
    *excerpts, _ = blocks("python")
    assert len(excerpts) == 3
    assert [excerpt for excerpt in excerpts if excerpt not in EXAMPLE] == []


def test_the_copy_is_found_as_described(copy: None) -> None:
    assert find("my_quoter", MarketType.SPOT).title == "MyQuoter"
    assert broken_strategies() == ()


def test_the_test_it_shows_passes(copy: None) -> None:
    namespace: dict[str, object] = {}
    exec(blocks("python")[-1], namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 1
    for test in tests:
        assert callable(test)
        test()


def test_the_instance_file_it_shows_is_in_order(copy: None, tmp_path: Path) -> None:
    (content,) = blocks("json")
    name = json.loads(content)["metadata"]["instance_id"]
    (tmp_path / f"{name}.json").write_text(content)
    loaded = load_instance(name, tmp_path, {})
    assert loaded.config.runnable
    assert loaded.warnings == ()


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`((?:strategies|tests)/[\w/]+(?:\.py)?)`", PAGE)
    linked = [f"docs/{link}" for link in re.findall(r"\]\(([^)#]+)\)", PAGE)]
    assert named
    assert [path for path in (*named, *linked) if not (ROOT / path).exists()] == []
