"""The check of the model: it reads the checker right, and cannot pass when something is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from tests.conftest import services_required
from tests.model import check
from tests.model.spin import ModelError, missing_programs, parse
from tests.model.trail import in_words
from tests.model.variants import BROKEN_RULES, DOUBLED_RULES, GROUPS, PROPERTIES, VARIANTS, Variant

SMALL = "flaky"
LIVELY = "forgetstops"


@pytest.fixture
def _spin() -> None:
    if missing := missing_programs():
        if services_required():
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but not installed: {', '.join(missing)}")
        pytest.skip(f"not installed: {', '.join(missing)}")


def report(*, errors: int, first_line: str = "", more: str = "") -> str:
    """Return what the checker prints, as far as it is read."""
    found = f"State-vector 112 byte, depth reached 16, errors: {errors}\n     6428 states, stored"
    return f"{first_line}\n{found}\n{more}"


def test_a_search_without_errors_that_looked_at_everything_holds() -> None:
    verdict = parse(VARIANTS[SMALL], report(errors=0), seconds=1.5)
    assert (verdict.violated, verdict.is_complete) == (None, True)
    assert (verdict.states, verdict.depth, verdict.seconds) == (6428, 16, 1.5)


@pytest.mark.parametrize(
    "sign", ["error: max search depth too small", "pan: out of memory", "reached -DMEMLIM bound"]
)
def test_a_search_that_was_cut_short_is_not_complete(sign: str) -> None:
    verdict = parse(VARIANTS[SMALL], report(errors=0, more=sign), seconds=1)
    assert verdict.violated is None
    assert not verdict.is_complete
    assert not check.Row(variant=VARIANTS[SMALL], verdict=verdict).is_expected


def test_the_invariant_that_failed_is_told_by_its_number() -> None:
    failed = "pan:1: assertion violated ((worker[me].of_run==0)||((0!=0)&&(0!=6))) (at depth 7)"
    verdict = parse(VARIANTS["nophase"], report(errors=1, first_line=failed), seconds=1)
    assert verdict.violated == "6"
    assert not verdict.is_complete
    assert check.Row(variant=VARIANTS["nophase"], verdict=verdict).is_expected
    assert not check.Row(variant=VARIANTS["nofence"], verdict=verdict).is_expected


def test_an_error_of_another_kind_is_never_the_expected_one() -> None:
    verdict = parse(VARIANTS["nofence"], report(errors=1, first_line="pan:1: invalid end state"), seconds=1)
    assert not check.Row(variant=VARIANTS["nofence"], verdict=verdict).is_expected


def test_a_checker_that_died_is_an_error() -> None:
    with pytest.raises(ModelError, match="no result"):
        parse(VARIANTS[SMALL], "Segmentation fault", seconds=1)


def test_a_trail_is_told_with_times_and_where_it_repeats() -> None:
    replayed = (
        "ltl a: [] (b || c)\nuser|starts a run\n  clock|tick\n <<<<<START OF CYCLE>>>>>\nworker 1|is killed\n"
    )
    assert list(in_words(replayed)) == [
        "   0  user       starts a run",
        "   1  from here on the same over and over again:",
        "   1  worker 1   is killed",
    ]


def test_every_rule_left_out_says_what_must_fail_and_no_name_is_used_twice() -> None:
    assert all(rule.fails in PROPERTIES and rule.fails in rule.checks for rule in BROKEN_RULES)
    assert all(rule.fails is None and rule.broken != "none" for rule in DOUBLED_RULES)
    assert len(VARIANTS) == sum(len(group) for group in GROUPS.values())


def test_without_spin_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert check.main([]) == check.NOT_INSTALLED
    assert "apt install spin gcc" in capsys.readouterr().err


def test_a_variant_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--variant", "nofense"]) == check.BAD_USAGE
    assert "nofence" in capsys.readouterr().err


@pytest.mark.usefixtures("_spin")
def test_the_protocol_as_built_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--variant", SMALL, "--json"]) == check.AS_EXPECTED
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["violated"], row["is_complete"], row["as_expected"]) == (None, True, True)
    assert row["states"] > 10_000


@pytest.mark.usefixtures("_spin")
@pytest.mark.parametrize(
    ("name", "last_but_one"),
    [("nofence", "calls the run stopped, clean"), (LIVELY, "the same over and over again")],
)
def test_a_rule_left_out_is_noticed_and_told_in_words(
    name: str, last_but_one: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--variant", name, "--trail"]) == check.AS_EXPECTED
    told = capsys.readouterr().out
    assert f"fails {VARIANTS[name].fails}" in told
    assert "user       starts a run" in told
    assert last_but_one in told


@pytest.mark.usefixtures("_spin")
@pytest.mark.parametrize(
    "wrong",
    [
        replace(VARIANTS["nofence"], fails=None),
        replace(VARIANTS["nofence"], fails="6"),
        replace(VARIANTS["nofence"], broken="none", defines=("WORKERS=1", "CLEANERS=1", "REQUESTS=1")),
        replace(VARIANTS[LIVELY], fails=None),
    ],
    ids=[
        "fails where it must hold",
        "fails elsewhere",
        "holds where it must fail",
        "hangs where it must end",
    ],
)
def test_what_is_not_expected_ends_with_a_failure(
    wrong: Variant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "GROUPS", {"wrong on purpose": (wrong,)})
    assert check.main([]) == check.UNEXPECTED
    assert "UNEXPECTED" in capsys.readouterr().out
