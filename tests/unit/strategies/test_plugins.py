"""Strategies of other packages are found by their entry points; a broken one harms no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from market.instrument import MarketType
from strategies import market_maker, plugins, registry
from strategies.registry import (
    STRATEGIES,
    BrokenStrategy,
    UnknownStrategy,
    all_strategies,
    broken_strategies,
    find,
)
from tests.plugin_packages import Installer, installing, module

SPOT, PERP = MarketType.SPOT, MarketType.PERP


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Install packages for this test."""
    with installing(tmp_path, monkeypatch) as installer:
        yield installer


def test_without_other_packages_there_are_the_built_in_strategies() -> None:
    assert all_strategies() == STRATEGIES
    assert broken_strategies() == ()


def test_a_strategy_of_another_package_is_found(install: Installer) -> None:
    install("quoters", module())
    found = find("my_quoter", SPOT)
    assert (found.title, found.params.__module__) == ("Mine", "quoters")
    assert all_strategies() == (*STRATEGIES, found)
    assert find("my_quoter", SPOT) is found


def test_one_entry_point_may_lead_to_several(install: Installer) -> None:
    text = module() + "\n    from dataclasses import replace\n"
    text += "    BOTH = (STRATEGY, replace(STRATEGY, config_name='other', market_types={MarketType.PERP}))\n"
    install("quoters", text, "anything = quoters:BOTH")
    assert {find("my_quoter", SPOT).title, find("other", PERP).title} == {"Mine"}


def test_an_unknown_name_is_refused_with_plugins_among_the_choices(install: Installer) -> None:
    install("quoters", module())
    with pytest.raises(UnknownStrategy) as caught:
        find("my_qoter", SPOT)
    assert ("my_quoter", SPOT) in caught.value.known
    with pytest.raises(UnknownStrategy, match="for perp markets"):
        find("my_quoter", PERP)


def test_nothing_is_imported_before_a_strategy_that_is_not_built_in_is_asked_for(install: Installer) -> None:
    install("quoters", module())
    assert find("standard", SPOT) is market_maker.STRATEGY
    assert "quoters" not in sys.modules
    find("my_quoter", SPOT)
    assert "quoters" in sys.modules


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        pytest.param("import no_such_module_at_all", "STRATEGY", "ModuleNotFoundError", id="import"),
        pytest.param("raise SystemExit(3)", "STRATEGY", "SystemExit: 3", id="exit"),
        pytest.param("def half(:", "STRATEGY", "SyntaxError", id="syntax"),
        pytest.param("x = 1", "STRATEGY", "AttributeError", id="missing"),
        pytest.param("STRATEGY = 7", "STRATEGY", "leads to a int, not to a strategies.base", id="number"),
        pytest.param("STRATEGY = ()", "STRATEGY", "leads to no strategy", id="none"),
        pytest.param(module("My-Quoter"), "STRATEGY", "'My-Quoter' must be of the form", id="name"),
        pytest.param(module("q" * 41), "STRATEGY", "must be of the form", id="long name"),
        pytest.param(
            module().replace("frozenset({MarketType.SPOT})", "frozenset()"),
            "STRATEGY",
            "market_types must be",
            id="no market",
        ),
        pytest.param(
            module().replace("params=MyParams", "params=dict"), "STRATEGY", "params must be", id="params"
        ),
        pytest.param(
            module().replace("state=State,", "state=type('S', (State,), {'__annotations__': {'x': int}}),"),
            "STRATEGY",
            "every field of its state needs a default",
            id="state",
        ),
        pytest.param(
            module().replace(
                "width_bps: int = 10",
                "model_config = {'arbitrary_types_allowed': True}; width_bps: type(print) = print",
            ),
            "STRATEGY",
            "PydanticInvalidForJsonSchema",
            id="no schema",
        ),
    ],
)
def test_a_broken_one_is_told_and_only_it_cannot_run(
    install: Installer, text: str, value: str, reason: str
) -> None:
    install("quoters", text, f"my_quoter = quoters:{value}")
    install("others", module("other_quoter"), "other_quoter = others:STRATEGY")

    with pytest.raises(BrokenStrategy) as caught:
        find("my_quoter", SPOT)

    assert reason in str(caught.value)
    assert "my_quoter = quoters:STRATEGY of quoters 1.2" in str(caught.value)
    assert "uninstall it" in str(caught.value)
    assert find("standard", SPOT) is market_maker.STRATEGY
    assert find("other_quoter", SPOT).title == "Mine"
    assert [plugin.entry_point for plugin in broken_strategies()] == ["my_quoter"]
    with pytest.raises(UnknownStrategy):
        find("no_such", SPOT)


def test_the_name_of_a_built_in_strategy_stays_its_own(install: Installer) -> None:
    install("quoters", module("standard"))
    assert find("standard", SPOT) is market_maker.STRATEGY
    assert all_strategies() == STRATEGIES
    (broken,) = broken_strategies()
    assert "standard on spot belongs to the built-in MarketMaker" in broken.reason
    with pytest.raises(BrokenStrategy):
        find("my_quoter", SPOT)


def test_a_built_in_name_is_free_on_a_market_it_does_not_trade(
    install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "STRATEGIES", (market_maker.STRATEGY,))
    install("quoters", module("standard", "PERP"))
    assert find("standard", PERP).title == "Mine"
    assert find("standard", SPOT) is market_maker.STRATEGY


def test_a_name_that_two_packages_claim_belongs_to_neither(install: Installer) -> None:
    """Else installing one would silently change what the other's instances run."""
    install("quoters", module())
    install("rivals", module(), "rival = rivals:STRATEGY")
    with pytest.raises(BrokenStrategy, match="belongs to another entry point"):
        find("my_quoter", SPOT)
    assert len(broken_strategies()) == 2


def test_entry_points_that_cannot_be_read_leave_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(**_: str) -> None:
        raise ValueError("a line of some package")

    monkeypatch.setattr(plugins, "entry_points", unreadable)
    plugins.load_plugins.cache_clear()
    try:
        assert all_strategies() == STRATEGIES
        assert "a line of some package" in broken_strategies()[0].sentence()
        with pytest.raises(UnknownStrategy):
            find("my_quoter", SPOT)
    finally:
        plugins.load_plugins.cache_clear()


def test_a_package_on_the_path_of_a_new_process_is_found(tmp_path: Path) -> None:
    """Nothing but files: what a worker sees that starts after `pip install`."""
    with pytest.MonkeyPatch.context() as monkeypatch, installing(tmp_path, monkeypatch) as install:
        install("quoters", module())
    code = "from strategies.registry import all_strategies; print(all_strategies()[-1].config_name)"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "my_quoter"
