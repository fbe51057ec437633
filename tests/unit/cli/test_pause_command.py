"""`manage.py pause` and `manage.py resume`: which instances, how long it waits, and what it says of each."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.record import Phase
from state.run_changes import ChangeResult, RunChanges
from state.stop_policy import StopPolicy
from tests.unit.cli.command_line import Bench

NAME = "bp_sol_01"


def withdrawn(bench: Bench, name: str) -> None:
    """Do what the iterations of a paused run do once nothing rests."""
    bench.client.hset(keys.record(name), "withdrawn", bench.instances.now_ms())


def pause(bench: Bench, *names: str) -> None:
    for name in names:
        assert bench.run("pause", name, "--no-wait").code == 0


def test_without_wait_the_gate_is_closed_and_nothing_awaited(bench: Bench) -> None:
    bench.start(NAME)
    ran = bench.run("pause", NAME, "--no-wait")
    assert ran.code == 0
    assert "paused (run 1), nothing new is placed; its orders are not known to be gone yet" in ran.out
    assert "no worker" not in ran.err
    assert bench.record(NAME).is_paused


def test_orders_that_are_not_gone_by_the_end_of_the_time_are_no_success(bench: Bench) -> None:
    bench.start(NAME)
    ran = bench.run("pause", NAME, "--timeout", "0.2", "--json")
    assert (ran.code, ran.json["exit_code"]) == (3, 3)
    assert (ran.instance["result"], ran.instance["withdrawn_at"]) == ("withdrawing", None)
    assert "no worker serves queue iterate" in ran.err


def test_what_is_withdrawn_already_is_told_at_once(bench: Bench) -> None:
    bench.start(NAME)
    pause(bench, NAME)
    withdrawn(bench, NAME)
    ran = bench.run("pause", NAME, "--json")
    assert (ran.code, ran.instance["result"], ran.instance["epoch"]) == (0, "withdrawn", 1)
    assert ran.instance["paused_at"] <= ran.instance["withdrawn_at"]
    assert "no own order left after" in bench.run("pause", NAME).out


def test_what_it_holds_is_told(bench: Bench) -> None:
    bench.start(NAME)
    assert bench.run("pause", NAME, "--no-wait", "--json").instance["held"] == "0"
    bench.client.hset(keys.record(NAME), "books", "{")
    assert bench.run("pause", NAME, "--no-wait", "--json").instance["held"] is None


def test_the_reason_is_kept_until_it_is_resumed(bench: Bench) -> None:
    bench.start(NAME)
    assert bench.run("pause", NAME, "--no-wait", "--reason", "lunch").code == 0
    assert bench.record(NAME).pause_reason == "lunch"
    assert bench.run("resume", NAME).code == 0
    assert bench.record(NAME).pause_reason == ""


def test_all_are_those_that_run(bench: Bench) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
    bench.instances.request_stop("b1", by="t", reason="", policy=StopPolicy())
    ran = bench.run("pause", "--all", "--no-wait", "--json")
    assert [one["instance_id"] for one in ran.json["instances"]] == ["a1", "c1"]
    assert bench.record("b1").phase is Phase.STOPPING


def test_one_that_cannot_be_paused_keeps_no_other_from_it(bench: Bench) -> None:
    for name in ("a1", "b1"):
        bench.start(name)
    bench.instances.request_stop("a1", by="t", reason="", policy=StopPolicy())
    ran = bench.run("pause", "a1", "b1", "--no-wait", "--json")
    assert ran.code == 1
    assert [one["result"] for one in ran.json["instances"]] == ["refused", "withdrawing"]
    assert "run 1 is being stopped" in ran.json["instances"][0]["message"]


@pytest.mark.parametrize(("command", "result"), [("pause", "withdrawing"), ("resume", "resumed")])
def test_what_the_server_refuses_for_one_keeps_no_other_from_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: str, result: str
) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
    if command == "resume":
        pause(bench, "a1", "b1", "c1")
    change = getattr(RunChanges, command)

    def refuse_b1(self: RunChanges, instance_id: str, **arguments: str) -> ChangeResult:
        if instance_id == "b1":
            raise redis.exceptions.NoPermissionError("no permissions to access a key")
        found: ChangeResult = change(self, instance_id, **arguments)
        return found

    monkeypatch.setattr(RunChanges, command, refuse_b1)
    ran = bench.run(command, "--all", "--json", *(["--no-wait"] if command == "pause" else []))
    assert ran.code == 1
    assert [one["result"] for one in ran.json["instances"]] == [result, "refused", result]
    assert "no permissions" in ran.json["instances"][1]["message"]


def test_a_stop_meanwhile_is_told(bench: Bench) -> None:
    bench.start(NAME)
    pause(bench, NAME)
    bench.instances.request_stop(NAME, by="t", reason="", policy=StopPolicy())
    ran = bench.run("pause", NAME)
    assert (ran.code, "is being stopped" in ran.out) == (1, True)


def test_all_paused_ones_are_resumed_and_no_other(bench: Bench) -> None:
    for name in ("a1", "b1", "c1"):
        bench.start(name)
    pause(bench, "a1", "c1")
    ran = bench.run("resume", "--all", "--json")
    assert ran.code == 0
    assert [(one["instance_id"], one["result"]) for one in ran.json["instances"]] == [
        ("a1", "resumed"),
        ("c1", "resumed"),
    ]
    assert not any(bench.record(name).is_paused for name in ("a1", "b1", "c1"))


def test_a_resume_of_what_is_not_paused_changes_nothing(bench: Bench) -> None:
    bench.start("a1")
    ran = bench.run("resume", "a1")
    assert (ran.code, ran.out) == (0, "a1: was not paused; nothing was changed\n")
    bench.configure("b1")
    refused = bench.run("resume", "b1", "--json")
    assert (refused.code, refused.instance["result"]) == (1, "refused")


@pytest.mark.parametrize(
    ("command", "nothing"),
    [("pause", "no instance runs; nothing to pause"), ("resume", "no instance is paused")],
)
def test_all_of_none_is_fine(bench: Bench, command: str, nothing: str) -> None:
    ran = bench.run(command, "--all", "--json")
    assert (ran.code, ran.json["instances"]) == (0, [])
    assert nothing in ran.err


@pytest.mark.parametrize("arguments", [(), (NAME, "--all"), ("nobody",), (NAME, "--timeout", "0")])
@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_wrong_command_changes_nothing(bench: Bench, command: str, arguments: tuple[str, ...]) -> None:
    bench.start(NAME)
    assert bench.run(command, *arguments).code == 2
    assert not bench.record(NAME).is_paused
