"""`manage.py reload`: what an edited file changes of a run, and what it must not."""

from __future__ import annotations

import pytest

from runner.config import load_instance, version_of
from strategies.base import Preflight
from tests.unit.cli.command_line import FILE, Bench

NAME = "bp_sol_01"


@pytest.fixture(autouse=True)
def _no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.config_change.look_at_change", lambda *_: Preflight(warnings=("mind it",)))


def begin(bench: Bench, name: str) -> str:
    """Begin a run with the file as it is; return the version."""
    config = load_instance(name, bench.config_dir, {}).config
    version = version_of(config)
    bench.instances.start(
        name, config_version=version, config_json=config.to_json(), slot=1, account="a", by="test"
    )
    return version


def running(bench: Bench, name: str = NAME) -> str:
    """Begin a run of a new file."""
    bench.configure(name)
    return begin(bench, name)


def edit(bench: Bench, name: str = NAME, **parameters: object) -> None:
    bench.configure(name, strategy_config=FILE["strategy_config"] | parameters)


def test_a_run_takes_its_edited_file(bench: Bench) -> None:
    before = running(bench)
    edit(bench, spread="0.3")
    ran = bench.run("reload", NAME)
    assert ran.code == 0
    assert "strategy_config.spread" in ran.out
    assert "from the next iteration on (run 1)" in ran.out
    assert f"{NAME}: mind it" in ran.err
    assert bench.record(NAME).config_version != before


def test_a_dry_run_shows_and_changes_nothing(bench: Bench) -> None:
    before = running(bench)
    edit(bench, spread="0.3")
    ran = bench.run("reload", NAME, "--dry-run", "--json")
    found = ran.instance
    assert (ran.code, found["applied"], found["takes_effect"]) == (0, False, "next_iteration")
    changed = [(each["field"], each["old"], each["new"]) for each in found["changed"]]
    assert ("strategy_config.spread", "0.1", "0.3") in changed
    assert (found["base_version"], bench.record(NAME).config_version) == (before, before)
    assert "could be changed without a restart" in bench.run("reload", NAME, "--dry-run").out


def test_json_tells_what_was_applied(bench: Bench) -> None:
    running(bench)
    edit(bench, spread="0.3")
    found = bench.run("reload", NAME, "--json").instance
    assert (found["applied"], found["warnings"]) == (True, ["mind it"])
    assert found["version"] == bench.record(NAME).config_version
    again = bench.run("reload", NAME, "--json").instance
    assert (again["applied"], again["changed"]) == (False, [])


def test_what_takes_a_restart_is_refused_and_one_refusal_keeps_no_other(bench: Bench) -> None:
    before = running(bench, "a1")
    running(bench, "b1")
    bench.configure("a1", exclusive_symbol=True)
    edit(bench, "b1", spread="0.3")
    ran = bench.run("reload", "a1", "b1", "--json")
    assert ran.code == 1
    assert [one["applied"] for one in ran.json["instances"]] == [False, True]
    assert "manage.py restart a1 applies it" in ran.json["instances"][0]["message"]
    assert bench.record("a1").config_version == before
    assert "takes a restart: manage.py restart a1" in bench.run("reload", "a1", "--dry-run").out


def test_a_mistake_in_the_file_changes_nothing(bench: Bench) -> None:
    before = running(bench)
    edit(bench, spread="-1")
    ran = bench.run("reload", NAME)
    assert (ran.code, "spread" in ran.out) == (2, True)
    assert bench.record(NAME).config_version == before


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("nobody",), 2), ((NAME,), 1)])
def test_what_does_not_run_has_nothing_to_take(bench: Bench, arguments: tuple[str, ...], code: int) -> None:
    bench.configure(NAME)
    assert bench.run("reload", *arguments).code == code
