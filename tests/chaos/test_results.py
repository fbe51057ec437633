"""The table, and the results of several runs added up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.__main__ import main
from tests.chaos.auditor import judge
from tests.chaos.catalogue import MIXED
from tests.chaos.results import Result, keep, kept, summarise, table, totals
from tests.chaos.test_auditor import story


def _result(seed: int, *, broken: bool = False) -> Result:
    found = story()
    if broken:
        assert found.ledger_fills is not None
        found = replace(found, ledger_fills=found.ledger_fills[1:])
    return summarise(found, judge(found), command=f"seed {seed}", seed=seed)


def test_a_violation_counts_for_the_round_that_had_begun() -> None:
    found = story()
    early = replace(found, rounds=[replace(found.rounds[0], begun_at_ms=found.journal[0]["at_ms"])])
    early = replace(early, ledger_fills=[])
    rows = summarise(early, judge(early), command="", seed=1).rows
    assert rows["pool child killed"].violations == 1


def test_results_of_several_runs_are_added_up(tmp_path: Path) -> None:
    for seed in (1, 2):
        keep(_result(seed), tmp_path)
    results = kept(tmp_path)
    assert [result.seed for result in results] == [1, 2]
    row = next(line for line in table(results) if "pool child killed" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("pool child killed", "2", "0", "0", "1100", "1110", "4", "200", "200")
    ]
    assert "2 runs" in totals(results)
    assert ": 0 violations" in totals(results)


def test_the_table_is_aligned(tmp_path: Path) -> None:
    assert len({len(line) for line in table([_result(1), _result(2, broken=True)])}) == 1


def test_a_mixed_round_counts_for_its_faults_as_well() -> None:
    found = story()
    mixed = replace(found, rounds=[replace(found.rounds[0], row=MIXED)])
    rows = summarise(mixed, judge(mixed), command="", seed=1).rows
    assert (rows[MIXED].rounds, rows["pool child killed"].rounds, rows["pool child killed"].in_mixed) == (
        1,
        0,
        1,
    )


def test_the_report_is_made_from_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(_result(1), tmp_path)
    page = tmp_path / "matrix.md"
    assert main(["--keep", str(tmp_path), "--report", "--markdown", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["pool child killed"]["runs"] == 1
    assert "| pool child killed |    1 |" in page.read_text(encoding="utf-8")


def test_a_violation_makes_the_exit_code_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(_result(1, broken=True), tmp_path)
    assert main(["--keep", str(tmp_path), "--report"]) == 1
    assert ": 1 violations" in capsys.readouterr().out
