"""Reading JSON exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runner.config_errors import ConfigError, shown
from runner.config_text import parse_json


def test_decimals_are_exact() -> None:
    assert parse_json('{"a": 0.1, "b": 1e-8, "c": 3}', "here") == {
        "a": Decimal("0.1"),
        "b": Decimal("1e-8"),
        "c": 3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6: no valid JSON"),
        ("", "line 1, column 1: no valid JSON"),
        ("[]", r"\$: must be an object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "[" * 900 + "1" + "]" * 900 + "}", "nested too deeply"),
        (r'{"a": ["\ud800"]}', "half a character"),
        (r'{"\udfff": 1}', "half a character"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "Infinity is not a number"),
        ('{"a": ' + "9" * 5000 + "}", "no valid JSON"),
        ('{"a": {"b": [1, 1e999]}}', r"\$\.a\.b\[1\]: is beyond"),
        ('{"a": 1e-40}', r"\$\.a: is beyond"),
        ('{"a": 1.' + "0" * 40 + "1}", r"\$\.a: is beyond"),
        ('{"a": 1' + " " * 1_000_000 + "}", "longer than"),
    ],
)
def test_what_is_no_use_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_json(text, "here")


def test_every_key_that_stands_there_twice_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_json('{"a": 1, "a": 2, "b": {"c": [{"d": 1, "d": 1}]}}', "here")

    assert [problem.path for problem in caught.value.problems] == ["$.a", "$.b.c[0].d"]


def test_zero_in_any_spelling_is_no_absurd_number() -> None:
    assert parse_json('{"a": 0.0, "b": 0}', "here") == {"a": 0, "b": 0}


def test_values_are_shown_short_and_without_passwords() -> None:
    assert shown("x" * 500).endswith("…")
    assert len(shown("x" * 500)) == 80
    assert shown("redis://user:hush@host") == '"redis://user:***@host"'
    assert shown(Decimal("0.10")) == "0.10"
