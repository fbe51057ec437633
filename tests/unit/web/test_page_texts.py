"""The texts of the page: both languages have them all, and no script asks for one that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.stack.stack import ROOT

STATIC = ROOT / "web" / "static"
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))
USED = re.compile(r'\bt\(\s*(?:\w+ \? )?"([\w.]+)"')
BUILT = re.compile(r"\bt\(`(\w+)\.\$\{")


def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((STATIC / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
    return found


def holes(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))


def test_both_languages_have_the_same_texts_with_the_same_holes() -> None:
    english, chinese = texts("en"), texts("zh-TW")
    assert english.keys() == chinese.keys()
    assert [key for key in english if holes(english[key]) != holes(chinese[key])] == []


def test_every_text_that_a_script_names_exists() -> None:
    known = texts("en")
    assert len(SCRIPTS) > 20
    for script in SCRIPTS:
        content = script.read_text(encoding="utf-8")
        assert [key for key in USED.findall(content) if key not in known] == [], script.name
        groups = {key.split(".")[0] for key in known}
        assert [group for group in BUILT.findall(content) if group not in groups] == [], script.name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_parses_markup(script: Path) -> None:
    content = script.read_text(encoding="utf-8")
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", content)
        == []
    )


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|https?://|//\w", page) == []
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
