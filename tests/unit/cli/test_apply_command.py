"""`manage.py apply DIR`: just the files of a folder run, after they were shown and somebody agreed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.context import Context
from runner.lifecycle import Started
from state.record import Phase
from state.stop_policy import StopPolicy
from strategies.base import Preflight
from tests.unit.cli.command_line import FILE, Bench
from tests.unit.cli.test_reload_command import running


@pytest.fixture
def folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside that of the instance files; nothing asks an exchange."""

    def start_instance(_context: Context, name: str, *, by: str, restart: str = "", **_: object) -> Started:
        result = bench.instances.start(
            name, config_version="v", config_json="{}", slot=1, account="a", by=by, restart=restart
        )
        return Started(result=result, warnings=())

    monkeypatch.setattr("runner.starting.start_instance", start_instance)
    monkeypatch.setattr("cli.starting.FIRST_ITERATION_S", 0.0)
    monkeypatch.setattr("runner.config_change.look_at_change", lambda *_: Preflight())
    found = bench.config_dir / "fleet"
    found.mkdir()
    return found


def put(folder: Path, name: str, **more: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps(FILE | more))


def edited(folder: Path, name: str) -> None:
    """Write a file that a run can take."""
    put(folder, name, strategy_config=FILE["strategy_config"] | {"spread": "0.3"})


def actions(bench: Bench, *arguments: str) -> dict[str, str]:
    """Return what is planned, by instance."""
    ran = bench.run("apply", *arguments, "--json")
    return {step["instance_id"]: step["action"] for step in ran.json["plan"]}


def test_a_dry_run_shows_what_would_happen_and_does_nothing(bench: Bench, folder: Path) -> None:
    for name in ("same", "takes", "again", "other"):
        running(bench, name)
    before = bench.record("takes").config_version
    put(folder, "same")
    edited(folder, "takes")
    put(folder, "again", exclusive_symbol=True)
    put(folder, "fresh")
    plan = {"same": "unchanged", "takes": "update", "again": "restart", "fresh": "start"}
    assert actions(bench, str(folder), "--dry-run") == plan | {"other": "not_listed"}
    assert actions(bench, str(folder), "--dry-run", "--prune") == plan | {"other": "stop"}
    assert bench.run("apply", str(folder), "--dry-run", "--json").json["applied"] is False
    shown = bench.run("apply", str(folder), "--dry-run")
    assert (shown.code, "strategy_config.spread" in shown.out) == (0, True)
    assert bench.record("takes").config_version == before
    assert (bench.record("other").phase, bench.instances.read("fresh")) == (Phase.RUNNING, None)


def test_what_is_agreed_to_is_done(bench: Bench, folder: Path) -> None:
    for name in ("takes", "again", "other"):
        running(bench, name)
    edited(folder, "takes")
    put(folder, "again", exclusive_symbol=True)
    put(folder, "fresh")
    for name in ("again", "other"):
        bench.when_stopping(name, lambda name=name: bench.clean_up(name))  # type: ignore[misc]
    ran = bench.run("apply", str(folder), "--prune", "--yes", "--json", "--timeout", "20")
    assert (ran.code, ran.json["applied"]) == (0, True)
    assert {one["instance_id"]: one["result"] for one in ran.json["stopped"]} == {
        "again": "clean",
        "other": "clean",
    }
    assert [(one["instance_id"], one["applied"]) for one in ran.json["updated"]] == [("takes", True)]
    assert {one["instance_id"]: one["epoch"] for one in ran.json["started"]} == {"again": 2, "fresh": 1}
    assert bench.record("other").stop_reason == f"apply {folder}"
    for name in ("takes", "again", "fresh"):
        assert (bench.config_dir / f"{name}.json").read_text() == (folder / f"{name}.json").read_text()


def test_without_prune_what_is_not_listed_is_left(bench: Bench, folder: Path) -> None:
    running(bench, "other")
    put(folder, "fresh")
    assert bench.run("apply", str(folder), "--yes").code == 0
    assert (bench.record("other").phase, bench.record("fresh").phase) == (Phase.RUNNING, Phase.RUNNING)


def test_a_stop_that_is_not_clean_in_time_holds_back_its_restart_only(bench: Bench, folder: Path) -> None:
    running(bench, "again")
    put(folder, "again", exclusive_symbol=True)
    put(folder, "fresh")
    bench.when_stopping("again", lambda: bench.finish(bench.claim("again"), left=("41",)))
    ran = bench.run("apply", str(folder), "--yes", "--json", "--timeout", "0.3")
    assert ran.code == 3
    assert [one["instance_id"] for one in ran.json["started"]] == ["fresh"]
    assert json.loads((bench.config_dir / "again.json").read_text())["live"] is False
    assert "exclusive_symbol" not in (bench.config_dir / "again.json").read_text()


def test_a_stop_of_somebody_else_calls_its_restart_off(bench: Bench, folder: Path) -> None:
    running(bench, "again")
    put(folder, "again", exclusive_symbol=True)

    def stop_and_end() -> None:
        bench.instances.request_stop("again", by="another", reason="", policy=StopPolicy())
        bench.clean_up("again")

    bench.when_stopping("again", stop_and_end)
    ran = bench.run("apply", str(folder), "--yes", "--json")
    assert (ran.code, ran.json["started"][0]["result"]) == (1, "called_off")
    assert bench.record("again").phase is Phase.STOPPED


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_nobody_is_asked_where_nobody_can_be(bench: Bench, folder: Path, more: tuple[str, ...]) -> None:
    put(folder, "fresh")
    assert bench.run("apply", str(folder), *more).code == 2
    assert bench.instances.read("fresh") is None


def test_nothing_to_do_is_said(bench: Bench, folder: Path) -> None:
    running(bench, "same")
    put(folder, "same")
    ran = bench.run("apply", str(folder))
    assert (ran.code, "nothing to do" in ran.err) == (0, True)


def test_a_mistake_in_one_file_stops_all(bench: Bench, folder: Path) -> None:
    put(folder, "fresh")
    put(folder, "wrong", live="perhaps")
    ran = bench.run("apply", str(folder), "--yes")
    assert (ran.code, "wrong.json" in ran.err) == (2, True)
    assert bench.instances.read("fresh") is None
    assert bench.run("apply", str(folder / "missing"), "--yes").code == 2


def test_what_is_being_stopped_is_left_to_people(bench: Bench, folder: Path) -> None:
    running(bench, "busy")
    put(folder, "busy", exclusive_symbol=True)
    bench.instances.request_stop("busy", by="t", reason="", policy=StopPolicy())
    ran = bench.run("apply", str(folder), "--yes", "--json")
    assert (ran.code, ran.json["plan"][0]["action"]) == (1, "blocked")
