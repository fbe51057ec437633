"""The file of rules: every mistake named, no secret shown."""

from __future__ import annotations

import tomllib
from datetime import time
from pathlib import Path

import pytest

from alerts.config import AlertsConfigError, load_alerts
from alerts.kinds import Kind, Severity

ROOT = Path(__file__).parents[3]
GOOD = """
[targets.hook]
url = "json://host/${TOKEN}"
[rules.all]
on = ["stop_not_clean", "risk_limit"]
targets = ["hook"]
instances = ["bp_*"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(AlertsConfigError) as raised:
        load_alerts(written(tmp_path, text), {"TOKEN": "s3cret"})
    assert "s3cret" not in str(raised.value)
    return raised.value.problems


def test_the_token_comes_from_the_environment_and_is_not_shown(tmp_path: Path) -> None:
    config = load_alerts(written(tmp_path, GOOD), {"TOKEN": "s3cret"})
    assert config.targets["hook"].url == "json://host/s3cret"
    assert "s3cret" not in repr(config)


def test_rules_choose_by_kind_and_instance(tmp_path: Path) -> None:
    config = load_alerts(written(tmp_path, GOOD), {"TOKEN": "t"})
    assert [name for name, _ in config.rules_about(Kind.RISK_LIMIT, "bp_sol_01")] == ["all"]
    assert [*config.rules_about(Kind.RISK_LIMIT, "mm_01")] == []
    assert [*config.rules_about(Kind.LOSS_LIMIT, "bp_sol_01")] == []
    rule = config.rules["all"]
    assert rule.severity_of(Kind.STOP_NOT_CLEAN) is Severity.CRITICAL
    assert rule.passes_quiet(Kind.STOP_NOT_CLEAN)
    assert not rule.passes_quiet(Kind.RISK_LIMIT)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("${TOKEN}", "${NONE}"), "targets.hook.url: the environment variable NONE is not set"),
        (("${TOKEN}", "${TOKEN"), "targets.hook.url: has a ${ that is no ${NAME}"),
        (('["hook"]', '["hok"]'), "rules.all.targets: 'hok' is no target; there is: hook"),
        (
            ("instances", "instance"),
            "rules.all.instance: is no setting; allowed are on, targets, instances, severity, after_s, "
            "at_most, per_s, recovery, quiet, at",
        ),
        (
            ("[rules.all]", "[rules.all]\nat_most = 0"),
            "rules.all.at_most: 0: Input should be greater than or equal to 1",
        ),
        (
            ("[rules.all]", '[rules.all]\nat = "24:00"'),
            'rules.all.at: "24:00": must be a time of day like "23:00", from "00:00" to "23:59"',
        ),
        (
            ("[targets.hook]", 'timezone = "Mars"\n[targets.hook]'),
            'timezone: "Mars": must be a time zone like "UTC" or "Asia/Taipei"',
        ),
        (('"risk_limit"', '"risk"'), "rules.all.on.1: \"risk\": Input should be 'stop_not_clean',"),
    ],
)
def test_a_mistake_names_field_value_and_what_is_allowed(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    (found,) = problems(tmp_path, GOOD.replace(*change))
    assert found.startswith(problem)


def test_a_url_is_never_shown(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD.replace('"json://host/${TOKEN}"', '["tok3n", "${TOKEN}"]'))
    assert "tok3n" not in found


@pytest.mark.parametrize(
    "text",
    [
        '[targets]\nhook = "tgram://tok3n/1"',
        'targets = "tgram://tok3n/1"',
        'targets = ["tgram://tok3n/1"]',
        '[targets."tgram://tok3n/1"]\nurl = "x"',
        '[targets.hook]\nurl = "json://host"\ntimeout_s = "tgram://tok3n/1"',
    ],
)
def test_a_url_in_the_wrong_place_is_not_shown_either(tmp_path: Path, text: str) -> None:
    rules = GOOD[GOOD.index("[rules.all]") :]
    found = problems(tmp_path, f"{text}\n{rules}")
    assert "tok3n" not in "".join(found)


@pytest.mark.parametrize("given", ['["tgram://tok3n/1"]', '"tgram://tok3n/1"'])
def test_a_url_in_place_of_a_targets_name_is_not_shown_either(tmp_path: Path, given: str) -> None:
    (found,) = problems(tmp_path, GOOD.replace('["hook"]', given))
    assert "tok3n" not in found


def test_a_missing_file_says_where_an_example_is(tmp_path: Path) -> None:
    with pytest.raises(AlertsConfigError, match=r"config/alerts\.example\.toml"):
        load_alerts(tmp_path / "none.toml", {})


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "[targets.hook\nurl = 3")
    assert "line 1" in found


def test_the_example_is_right_and_names_every_kind() -> None:
    path = ROOT / "config" / "alerts.example.toml"
    environ = {"TELEGRAM_TOKEN": "1:a", "TELEGRAM_CHAT": "2", "ALERTS_WEBHOOK": "json://127.0.0.1/hook"}
    config = load_alerts(path, environ)
    assert {kind for rule in config.rules.values() for kind in rule.on} == set(Kind)
    assert tomllib.loads(path.read_text())["targets"]["phone"]["url"].count("${") == 2


@pytest.mark.parametrize(
    ("begin", "end", "moment", "held"),
    [
        ("23:00", "07:00", time(23, 0), True),
        ("23:00", "07:00", time(6, 59), True),
        ("23:00", "07:00", time(7, 0), False),
        ("23:00", "07:00", time(12, 0), False),
        ("12:00", "13:00", time(12, 30), True),
        ("12:00", "13:00", time(13, 0), False),
    ],
)
def test_quiet_hours_may_span_midnight(
    tmp_path: Path, begin: str, end: str, moment: time, held: bool
) -> None:
    text = f'{GOOD}\n[quiet_hours]\nfrom = "{begin}"\nuntil = "{end}"\n'
    hours = load_alerts(written(tmp_path, text), {"TOKEN": "t"}).quiet_hours
    assert hours is not None
    assert hours.hold(moment) is held


def test_the_language_is_the_files_else_the_one_that_is_set_else_english(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert load_alerts(path, {"TOKEN": "t"}).language == "en"
    assert load_alerts(path, {"TOKEN": "t"}, language="zh-tw").language == "zh-TW"
    path = written(tmp_path, 'language = "zh_TW"\n' + GOOD)
    assert load_alerts(path, {"TOKEN": "t"}, language="en").language == "zh-TW"
    assert problems(tmp_path, 'language = "fr"\n' + GOOD) == ('language: "fr": must be one of en, zh-TW',)
