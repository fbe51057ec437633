"""docs/strategies.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.parameter_markdown import parameters_markdown
from strategies.base import AnyStrategy
from strategies.registry import STRATEGIES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "strategies.md").read_text(encoding="utf-8")


def name(strategy: AnyStrategy) -> str:
    markets = "-".join(sorted(kind.value for kind in strategy.market_types))
    return f"{strategy.config_name}-{markets}"


def section(title: str) -> str:
    """Return the part of the page about a strategy."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name)
def test_the_parameters_of_a_strategy_are_those_of_the_code(strategy: AnyStrategy) -> None:
    """Where it fails: `manage.py strategies NAME --markdown` prints what belongs there."""
    assert f"\n{parameters_markdown(strategy)}\n" in section(strategy.title)


def test_there_is_one_table_for_each_strategy() -> None:
    assert PAGE.count("<!-- parameters of ") == len(STRATEGIES)


@pytest.mark.parametrize("title", sorted({strategy.title for strategy in STRATEGIES}))
def test_every_strategy_has_its_picture_its_formulas_and_what_it_does_at_a_stop(title: str) -> None:
    text = section(title)

    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert (DOCS / picture).read_text(encoding="utf-8").startswith("<svg ")
    for part in ("Formulas", "Unknown, partly filled, crashed", "At a stop", "Parameters"):
        assert f"**{part}" in text, part


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name)
def test_a_parameter_that_the_text_names_exists(strategy: AnyStrategy) -> None:
    titled = [each for each in STRATEGIES if each.title == strategy.title]
    known = {key for each in titled for key in (*each.params.model_fields, *each.params.inert)}
    # What belongs to every instance, and words in code that are no parameter.
    known |= {"limits", "duration", "exclusive_symbol"}
    named = re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section(strategy.title).split("**Parameters")[0])

    words = {"emergency_close", "adjust_range", "stop_only"}
    assert set(named) - known - words == set()


@pytest.mark.parametrize("page", ["strategies.md", "configuration.md"])
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", text)

    assert links
    for target, anchor in links:
        path = DOCS / (target or page)
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, anchor


def test_the_configuration_leads_to_the_strategies() -> None:
    assert "](strategies.md)" in (DOCS / "configuration.md").read_text(encoding="utf-8")
