"""The words of another language: complete, with the same places for values, and never for scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from cli.commands import COMMANDS
from cli.language import in_use, language_in, padded, read_catalogue, told, tr, use, width, wrapped
from cli.main import run
from cli.output import Output
from cli.receipt_view import detail_words
from tests.unit.cli.command_line import Bench
from tests.unit.cli.spoken_words import (
    CLICK_ERRORS,
    MARKED,
    OTHERS,
    WORDS,
    literals,
    places,
    words_of_click,
    words_of_help,
)
from wording import said

#: What reads like a place for a value, in a message that gets none.
PLACE = re.compile(r"(?<![$\[])\{[a-z_]+\}")


@pytest.fixture(autouse=True)
def _speak_english_again() -> Iterator[None]:
    yield
    use("en")


def test_every_message_gets_the_values_that_it_has_places_for() -> None:
    assert len(MARKED) > 150
    wrong = [
        each.where
        for each in MARKED
        if places(each.message) != each.values and (each.values or PLACE.search(each.message))
    ]
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_has_its_words_with_the_same_places(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = read_catalogue(language)
    messages = {each.message for each in MARKED} | WORDS | words_of_click(*CLICK_ERRORS)
    messages |= words_of_help(monkeypatch).union(*(words_of_help(monkeypatch, name) for name in COMMANDS))
    assert sorted(messages - catalogue.keys()) == [], "not translated"
    messages |= words_of_click()
    assert sorted(catalogue.keys() - messages) == [], "not used any more"
    differ = [english for english, words in catalogue.items() if places(english) != places(words)]
    assert differ == []
    assert [english for english, words in catalogue.items() if not words.strip()] == []


def test_nothing_is_told_that_could_not_be_told_in_another_language() -> None:
    """What reads like a sentence in `cli` is looked up, or stands in a table that is looked up when used."""
    assert [f"{each.where}: {each.message}" for each in literals() if each.message not in WORDS] == []


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
    assert ran.err.startswith("錯誤\uff1a沒有實例 'b_01'")
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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_told_in_chinese_and_within_the_screen(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([command, "--help", "--lang", "zh-TW"]) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if width(line) > 80 and "manage.py" not in line] == []
    for word in ("用法", "範例", "選項:", "結束代碼", "顯示這段說明後結束。"):
        assert word in told
    assert run([command, "--help"]) == 0
    assert capsys.readouterr().out.isascii(), "the next command speaks English again"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stop", "--timeout", "x", "a"], "'x' 不是有效的"),
        (["stop", "--tmeout", "1"], "沒有選項 '--tmeout'。"),
        (["receipt"], "缺少參數 'NAME'"),
        (["list", "a"], "多了一個參數"),
        (["list", "a", "b"], "多了幾個參數"),
        (["logs", "a", "--level", "x"], "'x' 不是其中之一"),
    ],
)
def test_errors_of_the_parser_are_translated(bench: Bench, arguments: list[str], told: str) -> None:
    ran = bench.run(*arguments, "--lang", "zh-TW")
    assert ran.code == 2
    assert told in ran.err
    assert bench.run(*arguments, "--lang", "zh-TW", "--json").err.isascii()


def test_lines_are_broken_by_columns_and_not_before_a_full_stop() -> None:
    assert wrapped("\u505c\u6b62\u5be6\u4f8b\uff0cthen \u5b8c\u6210\u3002", 8) == [
        "\u505c\u6b62\u5be6",
        "\u4f8b\uff0cthen",
        "\u5b8c\u6210\u3002",
    ]
    assert wrapped("one two  three", 7) == ["one two", "three"]
    assert wrapped("longer than that", 3) == ["longer", "than", "that"]


def test_what_has_no_words_stays_english() -> None:
    use("zh-TW")
    assert tr("a sentence of tomorrow: {what}", what=1) == "a sentence of tomorrow: 1"


def test_what_a_lower_layer_said_is_told_with_what_that_was_made_of() -> None:
    made = said("{text}; nothing live is started on it", text=said("not known"))
    error = ValueError(made)
    assert str(error) == "not known; nothing live is started on it", "programs and logs get it in English"
    assert told(error) == str(error)
    assert told("a plain text") == told(ValueError("a plain text")) == "a plain text"
    use("zh-TW")
    assert told(error) == tr("{text}; nothing live is started on it", text="\u4e0d\u660e")
    assert not told(error).isascii()


@pytest.mark.parametrize(
    ("detail", "told_now"),
    [
        ("3 orders", "3 \u7b46\u8a02\u55ae"),
        ("2 orders kept", "\u4fdd\u7559 2 \u7b46\u8a02\u55ae"),
        ("3 {odd} words", "3 {odd} words"),
        ("HTTP 503: {}", "HTTP 503: {}"),
    ],
)
def test_details_of_steps_are_told_where_they_are_known(detail: str, told_now: str) -> None:
    assert detail_words(detail) == detail
    use("zh-TW")
    assert detail_words(detail) == told_now
    assert not detail_words("two lists in a row without own orders").isascii()


def test_what_is_not_about_this_command_line_asks_which_language_was_asked_for() -> None:
    assert in_use("en") == "en"
    assert in_use("zh-tw") == "zh-tw", "the setting, where the line says nothing"
    use("zh-TW")
    assert in_use("en") == "zh-TW"
