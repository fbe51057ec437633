"""`strategies`: what there is, what may be set, and which package is broken. Needs no server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, Field

from cli.main import run
from cli.parameters import Parameter, parameters_of
from strategies.registry import STRATEGIES
from tests.plugin_packages import Installer, installing, module

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `manage.py strategies` and return exit code, standard output and standard error."""

    def of(*arguments: str) -> tuple[int, str, str]:
        code = run(["strategies", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return of


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Install packages for this test."""
    with installing(tmp_path, monkeypatch) as installer:
        yield installer


def test_every_strategy_is_listed_with_its_title_its_markets_and_one_line(command: Command) -> None:
    code, out, _ = command()
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 1 + len(STRATEGIES)
    for strategy, line in zip(STRATEGIES, lines[1:], strict=True):
        assert line.split()[:2] == [strategy.config_name, strategy.title]
        assert strategy.summary
        assert line.endswith(strategy.summary)


def test_the_parameters_of_one_are_an_aligned_table(command: Command) -> None:
    code, out, _ = command("two_sided")
    title, summary, heads, *rows = out.splitlines()
    assert code == 0
    assert title == "two_sided: TwoSidedQuoter, on perp, spot"
    assert summary.startswith("Quotes one bid and one ask")
    meaning = heads.index("MEANING")
    assert heads.split() == ["PARAMETER", "TYPE", "RANGE", "DEFAULT", "MEANING"]
    assert {row[meaning - 2 : meaning] for row in rows} == {"  "}
    assert all(row[meaning].isupper() for row in rows)
    width = next(row for row in rows if row.startswith("half_spread_bps"))
    assert width.split()[1:6] == ["number", ">", "0,", "<=", "1000"]
    assert "required" in width


@pytest.mark.parametrize("name", ["maker_hedge", "MakerTakerHedgeStrategy", "MAKER_HEDGE"])
def test_a_name_or_a_title_shows_every_market(command: Command, name: str) -> None:
    out = command(name)[1]
    assert "maker_hedge: MakerTakerHedgeStrategy, on spot" in out
    assert "maker_hedge: MakerTakerHedgeStrategy, on perp" in out
    assert "two_sided" not in out


def test_older_names_have_a_column_where_there_are_any(command: Command) -> None:
    spot, perp = command("maker_hedge")[1].split("\n\n")
    assert "OLDER NAMES" in spot
    assert "OLDER NAMES" not in perp


def test_keys_that_are_let_pass_are_named_below_the_table(command: Command) -> None:
    last = command("maker_hedge")[1].splitlines()[-1]
    assert last.startswith("Let pass without effect, from older files: spread, ")
    content = json.loads(command("maker_hedge", "--json")[1])
    assert "best prices" in content["strategies"][0]["inert"]["spread"]
    assert "Let pass" not in command("two_sided")[1]


def test_all_shows_the_parameters_of_every_strategy(command: Command) -> None:
    out = command("--all")[1]
    assert out.count("PARAMETER ") == len(STRATEGIES)


def test_an_unknown_name_brings_a_suggestion(command: Command) -> None:
    code, out, err = command("maker_hedg")
    assert (code, out) == (2, "")
    assert 'did you mean "maker_hedge"?' in err


def test_json_has_everything(command: Command) -> None:
    content = json.loads(command("--json")[1])
    assert [one["strategy"] for one in content["strategies"]] == [one.config_name for one in STRATEGIES]
    assert content["broken"] == []
    standard = content["strategies"][0]
    spread = next(one for one in standard["parameters"] if one["name"] == "spread")
    assert (spread["required"], spread["type"], spread["nullable"]) == (True, "number", False)
    assert spread["bounds"] == [{"is": ">", "bound": "0"}, {"is": "<=", "bound": "100"}]
    assert "percent" in spread["description"]
    target = next(one for one in standard["parameters"] if one["name"] == "base_asset_target")
    assert target["older_names"] == ["base_asset_target_percentage"]
    assert json.loads(command("two_sided", "--json")[1])["strategies"] == [
        one for one in content["strategies"] if one["strategy"] == "two_sided"
    ]


def test_every_parameter_of_every_strategy_has_a_description(command: Command) -> None:
    content = json.loads(command("--json")[1])
    missing = [
        (one["strategy"], parameter["name"])
        for one in content["strategies"]
        for parameter in one["parameters"]
        if not parameter["description"]
    ]
    assert missing == []


def test_a_strategy_of_another_package_is_listed_and_marked(command: Command, install: Installer) -> None:
    install("quoters", module())
    assert "my_quoter" in command()[1]
    assert "width_bps" in command("my_quoter")[1]
    content = json.loads(command("--json")[1])
    assert [one["built_in"] for one in content["strategies"]] == [*[True] * len(STRATEGIES), False]


def test_a_broken_package_is_a_warning(command: Command, install: Installer) -> None:
    install("quoters", "import no_such_module_at_all")
    code, out, err = command()
    assert code == 0
    assert len(out.splitlines()) == 1 + len(STRATEGIES)
    assert "warning: entry point my_quoter = quoters:STRATEGY of quoters 1.2 cannot be used" in err
    code, out, err = command("--json")
    (broken,) = json.loads(out)["broken"]
    assert broken["entry_point"] == "my_quoter"
    assert "no_such_module_at_all" in broken["reason"]


def test_asked_for_by_name_a_broken_one_is_an_error(command: Command, install: Installer) -> None:
    install("quoters", "import no_such_module_at_all")
    code, out, err = command("my_quoter")
    assert (code, out) == (1, "")
    assert "no_such_module_at_all" in err


def test_on_a_terminal_sentences_are_wrapped_beneath_themselves() -> None:
    root = Path(__file__).parents[3]
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        subprocess.run(
            [sys.executable, "manage.py", "strategies", "two_sided"],
            cwd=root,
            env={"COLUMNS": "110", "NO_COLOR": "1", "PATH": os.environ["PATH"]},
            stdout=terminal,
            check=True,
        )
        text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert max(len(line) for line in text.splitlines()) <= 110
    assert "\n " in text


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Model(BaseModel):
    plain: Decimal = Field(gt=0, lt=5, description="How much.")
    several: int | None = Field(default=None, ge=1, validation_alias=AliasChoices("several", "many"))
    switch: bool = True
    colour: Colour = Colour.BLUE
    mixed: int | str = "x"
    made: list[int] = Field(default_factory=list)


def parameter(**given: Any) -> Parameter:
    defaults: dict[str, Any] = {
        "choices": (),
        "nullable": False,
        "bounds": (),
        "required": False,
        "default": None,
        "description": "",
        "older_names": (),
    }
    return Parameter(**{**defaults, **given})


def test_fields_are_told_in_words() -> None:
    assert list(parameters_of(Model)) == [
        parameter(
            name="plain",
            type="number",
            bounds=((">", "0"), ("<", "5")),
            required=True,
            description="How much.",
        ),
        parameter(
            name="several",
            type="whole number",
            nullable=True,
            bounds=((">=", "1"),),
            older_names=("many",),
        ),
        parameter(name="switch", type="true or false", default="true"),
        parameter(name="colour", type="choice", choices=("red", "blue"), default="blue"),
        parameter(name="mixed", type="whole number or text", default="x"),
        parameter(name="made", type="list", default="[]"),
    ]


def test_words_for_the_table() -> None:
    choice = parameter(name="c", type="choice", choices=("red", "blue"), nullable=True)
    assert (choice.type_words, choice.default_words, choice.range_words) == ("red | blue or null", "null", "")
    bound = parameter(name="b", type="number", bounds=((">", "0"), ("<=", "1")), required=True)
    assert (bound.type_words, bound.default_words, bound.range_words) == ("number", "required", "> 0, <= 1")
