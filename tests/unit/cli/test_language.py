"""The words of another language: complete, with the same places for values, and never for scripts."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import pytest

from cli import apply, inventory, list_instances, proof, receipt, receipt_view, reload, top_view
from cli.checks import Level
from cli.language import LANGUAGES, language_in, padded, read_catalogue, tr, use, width
from cli.main import COMMANDS
from cli.output import Output
from cli.top_reading import ORDERS
from runner.apply_plan import Action
from runner.pausing import Withdrawal
from runner.receipt import Result
from runner.starting import CALLED_OFF
from runner.stop_progress import STEPS
from state.instances import Phase
from tests.unit.cli.command_line import Bench

CLI = Path(__file__).parents[3] / "cli"
OTHERS = [language for language in LANGUAGES if language != "en"]
#: What `tr` is given in a variable, with where it is from.
WORDS = {
    *(word for command in COMMANDS.values() for word in (command.section, command.summary)),
    *(str(phase) for phase in Phase),
    *("paused", "never started", "damaged"),
    *("live", "simulated"),
    *("ok", "changed", "invalid", "missing", inventory.FILE_DIFFERS),
    *(str(result) for result in Result),
    *(str(level) for level in Level),
    *STEPS.values(),
    *("stop requested", "cleanup claimed", "stopped", "not clean yet"),
    *receipt_view.FLIGHT_ENDS.values(),
    *receipt_view.FATES.values(),
    proof.NOBODY_KNOWS,
    CALLED_OFF,
    *list_instances.COLUMNS,
    *top_view.COLUMNS,
    *receipt.COLUMNS,
    *reload.COLUMNS,
    *apply.COLUMNS,
    *(str(action) for action in Action),
    *(str(Withdrawal.STOPPED), str(Withdrawal.RESUMED)),
    *ORDERS,
}


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A message where it is used."""

    where: str
    message: str
    values: frozenset[str]


def marked() -> Iterator[Marked]:
    for path in sorted(CLI.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr"):
                continue
            if isinstance(node.args[0], ast.Constant):
                yield Marked(
                    where=f"{path.name}:{node.lineno}",
                    message=str(node.args[0].value),
                    values=frozenset(str(keyword.arg) for keyword in node.keywords),
                )


def places(message: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(message) if name is not None)


MARKED = tuple(marked())


@pytest.fixture(autouse=True)
def _speak_english_again() -> Iterator[None]:
    yield
    use("en")


def test_every_message_gets_the_values_that_it_has_places_for() -> None:
    assert len(MARKED) > 150
    wrong = [
        each.where
        for each in MARKED
        if places(each.message) != each.values and (each.values or "{" in each.message)
    ]
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_has_its_words_with_the_same_places(language: str) -> None:
    catalogue = read_catalogue(language)
    messages = {each.message for each in MARKED} | WORDS
    assert sorted(messages - catalogue.keys()) == [], "not translated"
    assert sorted(catalogue.keys() - messages) == [], "not used any more"
    differ = [english for english, words in catalogue.items() if places(english) != places(words)]
    assert differ == []
    assert [english for english, words in catalogue.items() if not words.strip()] == []


@pytest.mark.parametrize(
    ("arguments", "left", "language"),
    [
        (["stop", "a"], ["stop", "a"], "en"),
        (["--lang", "zh-TW", "stop", "a"], ["stop", "a"], "zh-TW"),
        (["stop", "--lang=zh_TW.UTF-8", "a"], ["stop", "a"], "zh-TW"),
        (["stop", "--", "--lang"], ["stop", "--", "--lang"], "en"),
    ],
)
def test_the_language_may_stand_anywhere(arguments: list[str], left: list[str], language: str) -> None:
    assert language_in(arguments, "en") == (left, language)


@pytest.mark.parametrize("arguments", [["list", "--lang", "fr"], ["list", "--lang"]])
def test_a_language_that_there_is_not_is_bad_usage(bench: Bench, arguments: list[str]) -> None:
    ran = bench.run(*arguments)
    assert ran.code == 2
    assert "there is: en, zh-TW" in ran.err


def test_people_are_spoken_to_and_scripts_are_not(bench: Bench) -> None:
    bench.start("a_01")
    assert "執行中" in bench.run("list", "--lang", "zh-TW").out
    assert bench.run("list", "--lang", "zh-TW", "--json").out.isascii()
    assert "執行中" not in bench.run("list").out, "the next command speaks English again"


def test_errors_are_translated_too(bench: Bench) -> None:
    bench.configure("a_01")
    ran = bench.run("status", "b_01", "--lang", "zh-TW")
    assert ran.code == 2
    assert ran.err.startswith("錯誤: 沒有實例 'b_01'")
    told = bench.run("status", "b_01", "--lang", "zh-TW", "--json")
    assert json.loads(told.out)["error"].startswith("there is no instance 'b_01'")


def test_the_environment_can_choose(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_LANG", "zh_TW")
    assert "查看:" in bench.run("--help").out
    assert "Looking:" in bench.run("--help", "--lang", "en").out


def test_a_stop_and_its_receipt_are_told_in_chinese(bench: Bench) -> None:
    bench.start("a_01")
    bench.when_stopping("a_01", lambda: bench.clean_up("a_01", cancelled=("o1",)))
    ran = bench.run("stop", "a_01", "--lang", "zh-TW")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("a_01: ")
    assert "停得乾淨" in ran.out
    assert "清理開始" in ran.err
    story = bench.run("receipt", "a_01", "--lang", "zh-TW").out
    assert "停得乾淨" in story.splitlines()[0]
    assert "交易所的清單" in story


def test_columns_stay_below_each_other_whatever_the_width_of_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    use("zh-TW")
    Output().table(("INSTANCE", "STATE", "SYMBOL"), [["a", "執行中", "SOL"], ["bcdefgh", "x", "BTC"]])
    starts = {
        width(line[: line.index(word)])
        for line, word in zip(capsys.readouterr().out.splitlines(), ("交易對", "SOL", "BTC"), strict=True)
    }
    assert len(starts) == 1
    assert padded("狀態", 6) == "狀態  "


def test_what_has_no_words_stays_english() -> None:
    use("zh-TW")
    assert tr("a sentence of tomorrow: {what}", what=1) == "a sentence of tomorrow: 1"
