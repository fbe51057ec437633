"""`manage.py stop` of many, and of all: what is wrong with one keeps no other from being stopped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from state import keys
from state.instances import Instances, StopResult
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.unit.cli.command_line import Bench

NAME = "bp_sol_01"


def test_all_takes_what_is_not_stopped(bench: Bench) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
    bench.when_stopping("a1", lambda: bench.clean_up("a1"))
    bench.run("stop", "a1")

    ran = bench.run("stop", "--all", "--no-wait", "--json")

    assert [one["instance_id"] for one in ran.json["instances"]] == ["b1", "c1"]


def test_a_damaged_record_keeps_no_other_from_being_stopped(bench: Bench) -> None:
    for name in ("a1", "b1"):
        bench.start(name)
    bench.client.hset(keys.record("a1"), "epoch", "x")

    ran = bench.run("stop", "--all", "--no-wait", "--json")

    assert [one["instance_id"] for one in ran.json["instances"]] == ["a1", "b1"]
    assert (bench.record("a1").phase, bench.record("b1").phase) == (Phase.FAILED, Phase.STOPPING)


@pytest.fixture
def user_without_b1(
    bench: Bench, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A user of the state server who may read all, and change all but instance b1."""
    patterns = [f"~cleanbook:{name}" for name in ("{a1}:*", "{c1}:*", "due", "events", "wake", "instances")]
    rules = ["on", ">secret", "+@all", "&*", "%R~*", *patterns]
    bench.client.execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]
    monkeypatch.setenv("BROKER_URL", f"redis://limited:secret@{valkey_server.url.rpartition('@')[2]}")
    yield
    bench.client.acl_deluser("limited")


@pytest.mark.usefixtures("user_without_b1")
@pytest.mark.parametrize("more", [(), ("--no-wait",)])
def test_what_the_server_refuses_for_one_keeps_no_other_from_being_stopped(
    bench: Bench, more: tuple[str, ...]
) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
    if not more:
        bench.when_stopping("a1", lambda: bench.clean_up("a1"))
        bench.when_stopping("c1", lambda: bench.clean_up("c1"))

    ran = bench.run("stop", "--all", "--json", "--timeout", "10", *more)

    found = {one["instance_id"]: one for one in ran.json["instances"]}
    well = "requested" if more else "clean"
    assert [found[name]["result"] for name in ("a1", "b1", "c1")] == [well, "refused", well]
    assert "No permissions" in found["b1"]["problem"]
    assert ran.code == ran.json["exit_code"] == 1
    assert bench.record("b1").phase is Phase.RUNNING
    assert "b1: NOT stopped: " in bench.run("stop", "b1").out


def test_a_server_that_goes_away_for_a_moment_keeps_nobody_from_being_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
        bench.when_stopping(name, partial(bench.clean_up, name))
    lost, request = iter([redis.ConnectionError("gone")] * 2), Instances.request_stop

    def lose_answers(self: Instances, instance_id: str, **arguments: Any) -> StopResult:
        if instance_id == "b1":
            for error in lost:
                raise error
        return request(self, instance_id, **arguments)

    monkeypatch.setattr(Instances, "request_stop", lose_answers)
    ran = bench.run("stop", "--all", "--json", "--timeout", "10")

    assert (ran.code, [one["result"] for one in ran.json["instances"]]) == (0, ["clean"] * 3)
    assert "the state server does not answer; trying on" in ran.err


def test_all_calls_off_a_restart_that_is_about_to_begin(bench: Bench) -> None:
    bench.start("a1")
    bench.instances.request_stop("a1", by="t", reason="", policy=StopPolicy(), restart="mark")
    bench.clean_up("a1")
    assert bench.record("a1").restart == "mark"

    ran = bench.run("stop", "--all", "--json")

    assert (ran.code, ran.instance["result"]) == (0, "already_stopped")
    assert bench.record("a1").restart == ""


@pytest.mark.parametrize("what", [NAME, "--all"])
def test_a_run_that_the_state_server_has_lost_is_no_clean_stop(
    bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.configure(NAME)
    bench.configure("never_ran")
    monkeypatch.setattr("runner.lost_runs.lost_runs", lambda _, names: dict.fromkeys(set(names) & {NAME}, 4))

    ran = bench.run("stop", what)

    assert ran.code == 3
    assert "the ledger knows run 4" in ran.out + ran.err
    assert f"manage.py cleanup {NAME}" in ran.out + ran.err
    assert "never_ran" not in ran.out + ran.err


@pytest.mark.parametrize("what", [NAME, "--all"])
def test_a_ledger_that_cannot_be_asked_is_not_taken_for_one_that_knows_nothing(
    bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    bench.configure(NAME)
    monkeypatch.setattr("runner.lost_state.LastRuns.of", fail)

    ran = bench.run("stop", what)

    assert ran.code == 3
    assert f"{NAME}: not known whether it has run" in ran.out + ran.err
    assert "the ledger cannot be asked" in ran.out + ran.err


def test_all_with_nothing_running_is_fine(bench: Bench) -> None:
    ran = bench.run("stop", "--all")

    assert ran.code == 0
    assert "nothing to stop" in ran.err
