"""`strategies --markdown`: tables for the documentation. Needs no server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from pydantic import AliasChoices, Field

from cli.main import run
from cli.parameter_markdown import parameters_markdown
from strategies import base, two_sided
from strategies.registry import STRATEGIES


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Params(base.Params):
    inert: ClassVar[Mapping[str, str]] = {"leverage": "set it at the exchange", "spread": "quotes touch"}

    width: Decimal = Field(gt=0, le=5, description="How wide | how far.")
    colour: Colour | None = Field(
        default=Colour.BLUE, validation_alias=AliasChoices("colour", "color"), description="Which."
    )


def strategy(params: type[base.Params]) -> base.AnyStrategy:
    unchecked: dict[str, Any] = {"params": params}
    return replace(two_sided.STRATEGY, **unchecked)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


def test_a_table_says_what_may_be_set_and_what_is_let_pass() -> None:
    title, head, rule, *rows, nothing, inert = parameters_markdown(strategy(Params)).splitlines()

    assert title == "<!-- parameters of two_sided on perp and spot -->"
    assert cells(head) == ["parameter", "type", "range", "default", "meaning", "older names"]
    assert rule == "|---|---|---|---|---|---|"
    found = {row[0]: row[1:] for row in map(cells, rows)}
    assert found["`width`"] == ["number", "> 0, ≤ 5", "required", "How wide / how far.", ""]
    assert found["`colour`"] == ['`"red"`, `"blue"`, `null`', "", '`"blue"`', "Which.", "`color`"]
    assert found["`refresh_tolerance_bps`"][:3] == ["number", "≥ 0, ≤ 1000", "`0`"]
    assert (nothing, inert) == ("", "Let pass without effect, from older files: `leverage`, `spread`.")


def test_a_column_without_entries_is_left_out() -> None:
    head = parameters_markdown(two_sided.STRATEGY).splitlines()[1]

    assert "older names" not in head


def test_every_line_of_a_table_has_as_many_cells_as_its_head() -> None:
    for each in STRATEGIES:
        lines = [line for line in parameters_markdown(each).splitlines() if line.startswith("|")]
        assert len({len(cells(line)) for line in lines}) == 1, each.title


def test_the_command_prints_the_tables_of_a_name_and_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["strategies", "maker_hedge", "--markdown"]) == 0
    hedges = [each for each in STRATEGIES if each.config_name == "maker_hedge"]
    assert capsys.readouterr().out == "\n\n".join(map(parameters_markdown, hedges)) + "\n"

    assert run(["strategies", "--markdown"]) == 0
    assert capsys.readouterr().out == "\n\n".join(map(parameters_markdown, STRATEGIES)) + "\n"


def test_markdown_and_json_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["strategies", "--markdown", "--json"]) == 2
    assert "choose one" in capsys.readouterr().err
