"""`manage.py stop` and `manage.py cleanup` against the real scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import runner.cleanup
from runner.config import load_instance
from state import keys
from state.instances import Instances, StopResult
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.unit.cli.command_line import Bench, outcome_of

NAME = "bp_sol_01"


def test_a_stop_ends_clean_with_its_proof(bench: Bench) -> None:
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.clean_up(NAME, cancelled=("7", "8")))

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert f"{NAME}: stopped clean in" in ran.out
    assert "own orders cancelled  2" in ran.out
    assert "own orders left       0, by the exchange's own word at" in ran.out
    assert bench.record(NAME).phase is Phase.STOPPED


def test_phases_are_told_on_standard_error_in_their_order(bench: Bench) -> None:
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.clean_up(NAME))

    lines = bench.run("stop", NAME).err.splitlines()

    told = [line.split(" s  ")[1].split("  ")[0].strip() for line in lines]
    assert told == [
        *("stop requested", "cleanup claimed", "cancels sent", "iteration released", "fence passed"),
        *("orders cancelled", "verified", "stopped"),
    ]
    assert all(line.startswith(f"{NAME}  ") for line in lines)
    assert "\x1b" not in "".join(lines)


def test_json_is_one_object_with_phases_and_proof(bench: Bench) -> None:
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.clean_up(NAME, cancelled=("7",)))

    found = bench.run("stop", NAME, "--json").instance

    assert (found["result"], found["clean"], found["joined"]) == ("clean", True, False)
    assert found["phases"][0]["phase"] == "stop requested"
    assert found["phases"][-1]["after_ms"] == found["duration_ms"]
    assert found["requested_at"].endswith("Z")
    assert found["receipt"]["cancelled_order_ids"] == ["7"]
    assert [seen["own_orders"] for seen in found["receipt"]["last_lists"]] == [[], []]


def test_stopping_a_stopped_instance_says_so_and_changes_nothing(bench: Bench) -> None:
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.clean_up(NAME, cancelled=("7",)))
    bench.run("stop", NAME)
    before = bench.client.hgetall(keys.record(NAME))

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert "was stopped already" in ran.out
    assert "own orders cancelled  1" in ran.out
    assert bench.client.hgetall(keys.record(NAME)) == before
    again = bench.run("stop", NAME, "--json").instance
    assert (again["result"], again["clean"]) == ("already_stopped", True)


def test_an_instance_that_never_ran_is_nothing_to_stop(bench: Bench) -> None:
    bench.configure(NAME)

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert "was never started" in ran.out
    assert bench.instances.read(NAME) is None


def test_an_unknown_name_stops_nothing_and_names_the_nearest(bench: Bench) -> None:
    bench.start(NAME)

    ran = bench.run("stop", NAME, "bp_sol_10")

    assert ran.code == 2
    assert "no instance 'bp_sol_10'; did you mean 'bp_sol_01'?" in ran.err
    assert bench.record(NAME).phase is Phase.RUNNING


def test_without_wait_every_gate_is_closed_and_nothing_awaited(bench: Bench) -> None:
    bench.start("a1")
    bench.start("b1")

    ran = bench.run("stop", "a1", "b1", "--no-wait", "--json", "--reason", "tea")

    assert ran.code == 0
    assert [one["result"] for one in ran.json["instances"]] == ["requested", "requested"]
    assert {bench.record(name).phase for name in ("a1", "b1")} == {Phase.STOPPING}
    assert bench.record("a1").stop_reason == "tea"
    assert "no worker serves queue cleanup" in ran.err


@pytest.mark.parametrize("is_saved", [True, False])
def test_a_restart_that_is_called_off_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_saved: bool
) -> None:
    """A crash of the state server would bring it back."""
    bench.start("a1")
    bench.client.hset(keys.record("a1"), "keeps", "everysec")
    bench.instances.request_stop("a1", by="t", reason="", policy=StopPolicy(), restart="mark")
    bench.clean_up("a1")
    bench.client.hdel(keys.record("a1"), "unsaved")
    waits: list[redis.Redis] = []

    def wait_for_disk(client: redis.Redis) -> bool:
        waits.append(client)
        return is_saved

    monkeypatch.setattr("state.durability.wait_for_disk", wait_for_disk)

    ran = bench.run("stop", "a1")

    assert (ran.code, len(waits)) == (0, 1)
    assert ("has not written this to its disk yet" in ran.err) is not is_saved


def test_what_nobody_can_tell_is_unknown_to_scripts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError

    bench.configure("a1")
    bench.configure("b1")
    monkeypatch.setattr("runner.lost_state.LastRuns.of", fail)

    ran = bench.run("stop", "a1", "b1", "--json")

    assert ran.code == 3
    assert [(one["result"], one["clean"]) for one in ran.json["instances"]] == [("unknown", False)] * 2


@pytest.mark.parametrize(
    "arguments",
    [(), (NAME, "--all"), (NAME, "--keep-orders", "--close-position"), (NAME, "--timeout", "0")],
    ids=["nothing named", "names and all", "orders kept, position closed", "no time at all"],
)
def test_a_wrong_stop_changes_nothing(bench: Bench, arguments: tuple[str, ...]) -> None:
    bench.start(NAME)

    assert bench.run("stop", *arguments).code == 2
    assert bench.record(NAME).phase is Phase.RUNNING


def test_orders_left_at_the_end_of_the_time_are_named(bench: Bench) -> None:
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.finish(bench.claim(NAME), left=("41", "42")))

    ran = bench.run("stop", NAME, "--no-direct", "--timeout", "0.7")

    assert ran.code == 3
    assert "NOT clean yet" in ran.out
    assert "own orders left       2: 41, 42" in ran.out
    assert "not clean yet" in ran.err


def test_an_unclean_attempt_is_followed_until_one_is_clean(bench: Bench) -> None:
    bench.start(NAME)

    def twice() -> None:
        bench.finish(bench.claim(NAME), left=("41",), cancelled=("40",))
        bench.clean_up(NAME, cancelled=("41",))

    bench.when_stopping(NAME, twice)

    found = bench.run("stop", NAME, "--json")

    assert found.code == 0
    assert [phase["phase"] for phase in found.instance["phases"]].count("not clean yet") == 1
    assert found.instance["receipt"]["cancelled_order_ids"] == ["41"]
    assert found.instance["cancelled_order_ids"] == ["40", "41"]


def test_nobody_at_work_is_not_clean_and_nothing_is_known(bench: Bench) -> None:
    bench.start(NAME)

    ran = bench.run("stop", NAME, "--no-direct", "--timeout", "2.5")

    assert ran.code == 3
    assert "--no-direct forbids it here" in ran.err
    assert "unknown: no cleanup has reported yet" in ran.out


@pytest.fixture
def cleaned_here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int, str]]]:
    """Let cleanups in the command's own process go well without an exchange; return who was cleaned."""
    calls: list[tuple[str, int, str]] = []

    def clean(_context: object, instance_id: str, *, epoch: int, by: str) -> None:
        calls.append((instance_id, epoch, by))
        bench.clean_up(instance_id, cancelled=("9",), by=by)

    monkeypatch.setattr(runner.cleanup, "run_cleanup", clean)
    yield calls
    for thread in threading.enumerate():
        if thread.name.startswith("cleanup "):
            thread.join(timeout=5)


def test_a_cleanup_that_nobody_takes_runs_in_this_process(
    bench: Bench, cleaned_here: list[tuple[str, int, str]]
) -> None:
    bench.start(NAME)

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert "nobody has taken the cleanup for 2 s; running it in this process" in ran.err
    assert [call[:2] for call in cleaned_here] == [(NAME, 1)]
    assert "manage.py" in cleaned_here[0][2]


def test_the_stop_of_a_failed_instance_runs_its_cleanup_when_nobody_works(
    bench: Bench, cleaned_here: list[tuple[str, int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.follow.DIRECT_AFTER_UNCLEAN_S", 0.3)
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("41",), until=1)
    assert bench.record(NAME).phase is Phase.FAILED

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert "its cleanups failed before" in ran.err
    assert len(cleaned_here) == 1
    assert bench.record(NAME).phase is Phase.STOPPED


def test_cleanup_by_hand_begins_at_once(bench: Bench, cleaned_here: list[tuple[str, int, str]]) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())

    ran = bench.run("cleanup", NAME, "--json")

    assert ran.code == 0
    assert ran.instance["clean"] is True
    assert len(cleaned_here) == 1
    assert f"{NAME}: running it in this process" in ran.err


def test_cleanup_by_hand_refuses_a_running_instance(bench: Bench) -> None:
    bench.start(NAME)

    ran = bench.run("cleanup", NAME)

    assert ran.code == 2
    assert f"stop it first: manage.py stop {NAME}" in ran.err
    assert bench.record(NAME).phase is Phase.RUNNING


def test_a_second_stop_joins_the_first_and_shows_what_had_happened(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(NAME)
    asked = bench.instances.request_stop(NAME, by="the first", reason="", policy=StopPolicy())
    lease = bench.claim(NAME)
    request_stop = Instances.request_stop

    def join(self: Instances, *arguments: Any, **named: Any) -> StopResult:
        result = request_stop(self, *arguments, **named)
        # The first cleanup ends while the second command watches.
        ended.start()
        return result

    monkeypatch.setattr(Instances, "request_stop", join)
    ended = threading.Timer(0.5, lambda: bench.finish(lease))
    ran = bench.run("stop", NAME, "--json")
    ended.join()

    assert ran.code == 0
    assert ran.instance["joined"] is True
    assert ran.instance["duration_ms"] == bench.record(NAME).stopped_at_ms - asked.at_ms  # type: ignore[operator]
    assert ran.instance["phases"][0]["detail"] == "by the first"
    assert bench.record(NAME).stop_by == "the first"


def test_the_policy_of_the_run_is_kept(bench: Bench) -> None:
    bench.start(NAME, stop={"orders": "keep", "position": "keep"})

    bench.run("stop", NAME, "--no-wait")

    assert policy(bench.client) == StopPolicy(cancel_orders=False, close_position=False)


def test_keep_orders_overrides_the_policy_of_the_run(bench: Bench) -> None:
    bench.start(NAME, stop={"orders": "cancel", "position": "keep"})

    bench.run("stop", NAME, "--no-wait", "--keep-orders")

    assert policy(bench.client) == StopPolicy(cancel_orders=False, close_position=False)


def test_closing_the_position_of_a_spot_instance_is_refused_and_stops_nothing(bench: Bench) -> None:
    bench.configure(NAME)
    bench.start(NAME)
    bench.client.set(keys.config(NAME), load_instance(NAME, bench.config_dir, {}).config.to_json())

    ran = bench.run("stop", NAME, "--close-position")

    assert ran.code == 2
    assert "only a perpetual position can be closed" in ran.err
    assert bench.record(NAME).phase is Phase.RUNNING


def test_a_stored_configuration_that_nobody_can_read_still_stops(bench: Bench) -> None:
    bench.start(NAME)
    bench.client.set(keys.config(NAME), "{ broken")

    assert bench.run("stop", NAME, "--no-wait").code == 0
    assert policy(bench.client) == StopPolicy()


def test_a_request_that_the_server_lost_is_repeated(bench: Bench) -> None:
    bench.start(NAME)

    def lose_it() -> None:
        # What a crash with an append-only file of the second before leaves.
        bench.client.hset(keys.record(NAME), "phase", "running")
        bench.client.delete(keys.stop(NAME))
        bench.when_stopping(NAME, lambda: bench.clean_up(NAME))

    bench.when_stopping(NAME, lose_it)

    ran = bench.run("stop", NAME)

    assert ran.code == 0
    assert "has lost the request; it is repeated" in ran.err
    assert bench.record(NAME).phase is Phase.STOPPED


def test_a_clean_end_whose_event_got_lost_is_read_from_the_record(bench: Bench) -> None:
    bench.start(NAME)

    def end_silently() -> None:
        outcome = outcome_of(bench.claim(NAME)).model_dump_json()
        bench.client.hset(
            keys.record(NAME), mapping={"phase": "stopped", "stopped_at": 1, "outcome": outcome}
        )

    bench.when_stopping(NAME, end_silently)

    ran = bench.run("stop", NAME, "--json", "--timeout", "5")

    assert ran.code == 0
    assert ran.instance["clean"] is True


def test_a_new_run_forced_meanwhile_is_no_clean_stop(bench: Bench) -> None:
    bench.start(NAME)

    def force() -> None:
        bench.finish(bench.claim(NAME), left=("41",), until=1)
        bench.start(NAME, force=True)

    bench.when_stopping(NAME, force)

    ran = bench.run("stop", NAME, "--json", "--timeout", "5")

    assert ran.code == 3
    assert ran.instance["result"] == "superseded"
    assert ran.instance["receipt"]["orders_left"][0]["order_id"] == "41"


def policy(client: redis.Redis) -> StopPolicy:
    text = client.hget(keys.record(NAME), "stop_policy")
    assert isinstance(text, str)
    assert json.loads(text)
    return StopPolicy.from_json(text)
