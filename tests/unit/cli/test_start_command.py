"""`manage.py start` and `manage.py restart`: idempotent, and nothing half-started."""

from __future__ import annotations

import pytest

from runner.context import Context
from runner.lifecycle import Started, StartRefused
from state.instances import StartResult
from state.leases import Lease
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests.unit.cli.command_line import Bench

NAME = "bp_sol_01"


def iterate_once(bench: Bench, instance_id: str) -> None:
    """Do what a worker does with the first message."""
    record = bench.record(instance_id)
    lease = bench.leases.claim(instance_id, epoch=record.epoch, tick=record.tick, task_id="t")
    assert isinstance(lease, Lease)
    bench.leases.commit(lease, resolved=True, state_json="", interval_ms=60_000, next_task_id="n")


@pytest.fixture
def exchange_is_fine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without asking an exchange; iterations follow at once where a worker lives."""

    def start_instance(
        _context: Context,
        instance_id: str,
        *,
        by: str,
        accept: AcceptedLeft | None = None,
        restart: str = "",
        looks: object,
    ) -> Started:
        if instance_id == "refused":
            raise StartRefused("refused: this version cannot run it")
        result = bench.instances.start(
            instance_id,
            config_version="v",
            config_json="{}",
            slot=1,
            account="a",
            by=by,
            accept=accept,
            restart=restart,
        )
        if result.started and bench.client.hlen("cleanbook:workers"):
            iterate_once(bench, instance_id)
        return Started(result=result, warnings=("mind the gap",))

    monkeypatch.setattr("runner.starting.start_instance", start_instance)


def employ(bench: Bench) -> None:
    bench.events.heartbeat("w@test", ("iterate", "cleanup"), bench.instances.now_ms())


@pytest.mark.usefixtures("exchange_is_fine")
def test_a_start_waits_for_the_first_iteration(bench: Bench) -> None:
    employ(bench)

    ran = bench.run("start", NAME, "--json")

    assert ran.code == 0
    assert (ran.instance["result"], ran.instance["epoch"]) == ("running", 1)
    assert ran.instance["warnings"] == ["mind the gap"]
    assert "warning: bp_sol_01: mind the gap" in ran.err


@pytest.mark.usefixtures("exchange_is_fine")
def test_without_workers_a_start_warns_and_does_not_wait(bench: Bench) -> None:
    ran = bench.run("start", NAME)

    assert ran.code == 0
    assert "no worker serves queue iterate and cleanup" in ran.err
    assert ran.out == f"{NAME}: started (run 1)\n"


@pytest.mark.usefixtures("exchange_is_fine")
def test_starting_what_runs_says_so_and_changes_nothing(bench: Bench) -> None:
    bench.start(NAME)
    before = bench.record(NAME)

    ran = bench.run("start", NAME)

    assert ran.code == 0
    assert "is running already (run 1); nothing was changed" in ran.out
    assert bench.record(NAME) == before


@pytest.mark.usefixtures("exchange_is_fine")
def test_starting_during_a_stop_says_wait(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())

    ran = bench.run("start", NAME)

    assert ran.code == 1
    assert "run 1 is being stopped, and no cleanup attempt has reported yet; wait for it" in ran.out


@pytest.mark.usefixtures("exchange_is_fine")
def test_a_failed_run_is_not_started_over_what_it_left(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("41", "42"), until=1)

    ran = bench.run("start", NAME)

    assert ran.code == 3
    assert "run 1 never became clean (orders_left); own orders left: 41, 42" in ran.out
    assert f"manage.py start {NAME} --force --accept-orders 41,42" in ran.out
    assert bench.record(NAME).phase is Phase.FAILED


@pytest.mark.usefixtures("exchange_is_fine")
def test_force_starts_after_a_failed_run(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("42", "41"), until=1)

    assert bench.run("start", NAME, "--force", "--accept-orders", "42, 41").code == 0
    assert (bench.record(NAME).phase, bench.record(NAME).epoch) == (Phase.RUNNING, 2)


@pytest.mark.usefixtures("exchange_is_fine")
def test_one_that_is_refused_does_not_keep_the_others(bench: Bench) -> None:
    ran = bench.run("start", "refused", NAME)

    assert ran.code == 2
    assert bench.record(NAME).phase is Phase.RUNNING
    assert bench.instances.read("refused") is None


@pytest.mark.parametrize("name", ["nosuch", "../x", "a{b}", ".hidden"])
def test_a_name_without_a_file_starts_nothing(bench: Bench, name: str) -> None:
    ran = bench.run("start", name)

    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert bench.instances.read_all() == ()


def test_an_exchange_that_is_down_starts_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_SIMULATOR_URL", "http://127.0.0.1:1")
    bench.configure(NAME)

    ran = bench.run("start", NAME)

    assert ran.code == 4
    assert "the exchange cannot be used now" in ran.out
    assert bench.instances.read(NAME) is None


def test_missing_keys_of_a_live_instance_are_named_and_nothing_starts(bench: Bench) -> None:
    bench.configure(
        NAME, live=True, exchange_config={"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"}
    )

    ran = bench.run("start", NAME)

    assert ran.code == 2
    assert "BACKPACK_KEY is not set" in ran.out
    assert "BACKPACK_SECRET is not set" in ran.out
    assert bench.instances.read(NAME) is None


@pytest.mark.usefixtures("exchange_is_fine")
def test_a_restart_stops_clean_before_it_starts(bench: Bench) -> None:
    employ(bench)
    bench.configure(NAME)
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.clean_up(NAME))

    ran = bench.run("restart", NAME, "--json")

    assert ran.code == 0
    assert ran.json["stopped"][0]["result"] == "clean"
    assert (ran.json["started"][0]["result"], ran.json["started"][0]["epoch"]) == ("running", 2)


@pytest.mark.usefixtures("exchange_is_fine")
def test_a_restart_that_is_not_clean_does_not_start(bench: Bench) -> None:
    bench.configure(NAME)
    bench.start(NAME)
    bench.when_stopping(NAME, lambda: bench.finish(bench.claim(NAME), left=("41",)))

    ran = bench.run("restart", NAME, "--timeout", "0.5", "--json")

    assert ran.code == 3
    assert ran.json["started"] == []
    assert bench.record(NAME).epoch == 1


@pytest.mark.usefixtures("exchange_is_fine")
def test_a_stop_of_somebody_else_calls_a_restart_off(bench: Bench) -> None:
    bench.configure(NAME)
    bench.start(NAME)

    def stop_and_end() -> None:
        bench.instances.request_stop(NAME, by="another", reason="", policy=StopPolicy())
        bench.clean_up(NAME)

    bench.when_stopping(NAME, stop_and_end)

    ran = bench.run("restart", NAME, "--json")

    assert ran.code == 1
    assert ran.json["stopped"][0]["result"] == "clean"
    assert ran.json["started"][0]["result"] == "called_off"
    assert (bench.record(NAME).phase, bench.record(NAME).epoch) == (Phase.STOPPED, 1)


def test_a_restart_with_a_broken_file_stops_nothing(bench: Bench) -> None:
    bench.configure(NAME, live="perhaps")
    bench.start(NAME)

    assert bench.run("restart", NAME).code == 2
    assert bench.record(NAME).phase is Phase.RUNNING


def test_a_start_result_that_needs_words_has_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "runner.starting.start_instance",
        lambda *_, **__: Started(result=StartResult(result="cleaning", epoch=3), warnings=()),
    )

    ran = bench.run("start", NAME)

    assert ran.code == 1
    assert "run 3 was being stopped; try again" in ran.out
