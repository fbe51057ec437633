"""`start --force`: only over what was shown, by name, to whoever accepts it."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from cli import forcing
from runner.context import Context
from runner.lifecycle import Started
from state import keys
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests.unit.cli.command_line import Bench

NAME = "bp_sol_01"


class Terminal(io.StringIO):
    """A keyboard with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def exchange_is_fine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without asking an exchange."""

    def start_instance(
        _context: Context,
        instance_id: str,
        *,
        by: str,
        accept: AcceptedLeft | None = None,
        restart: str = "",
        looks: object,
    ) -> Started:
        result = bench.instances.start(
            instance_id, config_version="v", config_json="{}", slot=1, account="a", by=by, accept=accept
        )
        return Started(result=result, warnings=())

    monkeypatch.setattr("runner.starting.start_instance", start_instance)


@pytest.fixture
def failed(bench: Bench) -> Bench:
    """An instance whose run 1 was stopped and left two orders."""
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("42", "41"), until=1)
    return bench


def assert_not_started(bench: Bench) -> None:
    assert (bench.record(NAME).phase, bench.record(NAME).epoch) == (Phase.FAILED, 1)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_script_that_names_nothing_is_refused_and_told_how(failed: Bench, flags: tuple[str, ...]) -> None:
    ran = failed.run("start", NAME, "--force", *flags)

    assert ran.code == 3
    assert "run 1 never became clean (orders_left); own orders left: 41, 42" in ran.err
    assert f"manage.py start {NAME} --force --accept-orders 41,42" in ran.err
    assert_not_started(failed)


@pytest.mark.parametrize("accepted", ["41", "41,42,43", "none", "unknown", "2"])
def test_other_orders_than_those_left_are_not_accepted(failed: Bench, accepted: str) -> None:
    ran = failed.run("start", NAME, "--force", "--accept-orders", accepted)

    assert ran.code == 3
    assert "That is not what --accept-orders says, so nothing was started" in ran.err
    assert_not_started(failed)


def test_the_orders_left_by_their_ids_in_any_order_are(failed: Bench) -> None:
    assert failed.run("start", NAME, "--force", "--accept-orders", "42 , 41").code == 0
    assert (failed.record(NAME).phase, failed.record(NAME).epoch) == (Phase.RUNNING, 2)
    started = failed.events.of_instance(NAME)[-1]
    assert (started.event, started.fields["accepted"]) == ("started", "1:41,42")


def test_who_started_over_what_is_in_the_ledger(failed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_CONFIG_DIR", str(failed.config_dir))
    assert failed.run("start", NAME, "--force", "--accept-orders", "41,42").code == 0

    ran = failed.run("receipt", NAME, "--epoch", "1", "--json")

    assert ran.code == 3
    assert ran.json["receipt"]["accepted"]["order_ids"] == ["41", "42"]
    assert "manage.py" in ran.json["receipt"]["accepted"]["by"]


def test_what_nobody_knows_takes_that_word(failed: Bench) -> None:
    failed.client.hdel(keys.record(NAME), "left")

    refused = failed.run("start", NAME, "--force", "--accept-orders", "41,42")
    assert refused.code == 3
    assert "own orders left: unknown, the exchange could not be asked" in refused.err
    assert failed.run("start", NAME, "--force", "--accept-orders", "unknown").code == 0


def test_where_only_a_position_is_left_no_order_is_accepted_by_that_word(failed: Bench) -> None:
    failed.client.hset(keys.record(NAME), "left", "")

    assert "--accept-orders none" in failed.run("start", NAME).out
    assert failed.run("start", NAME, "--force", "--accept-orders", "none").code == 0


@pytest.mark.parametrize(("typed", "code"), [("2\n", 0), (" 2 \n", 0), ("y\n", 3), ("\n", 3), ("1\n", 3)])
def test_a_person_types_how_many_are_left(
    failed: Bench, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))

    ran = failed.run("start", NAME, "--force")

    assert ran.code == code
    assert "own orders left: 41, 42" in ran.err
    assert "type how many orders are left to start all the same" in ran.err
    assert failed.record(NAME).phase is (Phase.FAILED if code else Phase.RUNNING)


def test_a_person_types_unknown_where_nobody_knows(failed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    failed.client.hdel(keys.record(NAME), "left")
    monkeypatch.setattr("sys.stdin", Terminal("unknown\n"))

    assert failed.run("start", NAME, "--force").code == 0


def test_what_changes_between_showing_and_starting_is_not_started_over(
    failed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = forcing._compare

    def compare_and_fail_again(*arguments: object) -> None:
        compare(*arguments)  # type: ignore[arg-type]
        failed.finish(failed.claim(NAME), left=("41", "42", "43"), until=1)

    monkeypatch.setattr(forcing, "_compare", compare_and_fail_again)

    ran = failed.run("start", NAME, "--force", "--accept-orders", "41,42", "--json")

    assert ran.code == 3
    assert ran.instance["result"] == "changed"
    assert ran.instance["order_ids_left"] == ["41", "42", "43"]
    assert_not_started(failed)


def test_a_cleanup_attempt_under_way_is_waited_for(failed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = failed.claim(NAME)

    class Pause:
        def wait(self, _: float) -> None:
            failed.finish(lease, left=("41", "42"), until=1)

    monkeypatch.setattr("cli.forcing.threading", SimpleNamespace(Event=Pause))

    ran = failed.run("start", NAME, "--force", "--accept-orders", "41,42")

    assert ran.code == 0, ran.err
    assert "waiting for the cleanup attempt that is under way" in ran.err


def test_force_means_nothing_where_nothing_failed(bench: Bench) -> None:
    assert bench.run("start", NAME, "--force").code == 0
    assert bench.record(NAME).epoch == 1


def test_force_does_not_start_over_a_stop_under_way(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("41",))

    ran = bench.run("start", NAME, "--force", "--json")

    assert (ran.code, ran.instance["result"]) == (1, "stopping")
    assert (
        "run 1 is being stopped and is not clean yet (orders_left); own orders left: 41"
        in (ran.instance["message"])
    )
    assert ran.instance["order_ids_left"] == ["41"]


@pytest.mark.parametrize(
    "arguments",
    [
        (NAME, "--accept-orders", "41"),
        (NAME, "other", "--force", "--accept-orders", "41"),
        (NAME, "--force", "--accept-orders", " , "),
    ],
)
def test_ids_that_cannot_be_meant_are_bad_usage(failed: Bench, arguments: tuple[str, ...]) -> None:
    assert failed.run("start", *arguments).code == 2
    assert_not_started(failed)
