"""`manage.py receipt`: the story of a stop from the record or the ledger, and what its exit code says."""

from __future__ import annotations

from typing import Any

import pytest

from runner.receipt import (
    Acceptance,
    Asked,
    Flight,
    FlightEnd,
    Receipt,
    RequestFate,
    Result,
    Step,
    Unanswered,
)
from runner.receipt_reports import receipt_booking
from state import keys
from state.stop_policy import StopPolicy
from tests.unit.cli.command_line import Bench, outcome_of
from tests.unit.cli.ledger_bench import NO_POSTGRES, NO_REDIS, LedgerBench
from tests.unit.ledger.story import T0

NAME = "bp_sol_01"


def stop(bench: Bench, *, left: tuple[str, ...] = (), until: int = 3) -> None:
    """Run, stop, and report once."""
    epoch = bench.start(NAME)
    bench.instances.request_stop(NAME, by="ann@host", reason="tired", policy=StopPolicy())
    bench.finish(bench.claim(NAME, epoch), left=left, cancelled=("7",), until=until)


def receipt_of(bench: Bench, epoch: int = 1, **changed: Any) -> Receipt:
    """Return a receipt of an earlier run with much to tell."""
    bench.start("other_01")
    bench.instances.request_stop("other_01", by="x", reason="", policy=StopPolicy())
    base = outcome_of(bench.claim("other_01"), cancelled=("7", "8"), now_ms=T0 + 90)
    bench.client.flushdb()
    steps = (
        Step(step="cancels_sent", at_ms=T0 + 12, detail="2 orders"),
        Step(step="verified", at_ms=T0 + 90),
    )
    attempt = base.attempts[0].model_copy(update={"steps": steps, "claimed_at_ms": T0 + 2})
    values = {
        "instance_id": NAME,
        "epoch": epoch,
        "asked": (Asked(by="ann@host", reason="tired", at_ms=T0, policy=StopPolicy()),),
        "attempts": (attempt,),
        "updated_at_ms": T0 + 90,
    }
    return base.model_copy(update={**values, **changed})


def test_the_last_stop_is_told_from_the_record_without_any_ledger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", NO_POSTGRES)
    stop(bench)

    ran = bench.run("receipt", NAME, "--json")

    assert ran.code == 0
    found = ran.json
    assert (found["instance_id"], found["epoch"], found["phase"]) == (NAME, 1, "stopped")
    assert (found["source"], found["exit_code"]) == ("record", 0)
    assert (found["receipt"]["result"], found["receipt"]["clean"]) == ("clean", True)
    assert found["receipt"]["cancelled_order_ids"] == ["7"]
    assert ran.err == ""


def test_people_read_the_whole_story(books: LedgerBench) -> None:
    receipt = receipt_of(
        books.bench,
        in_flight=Flight(
            ended=FlightEnd.INTERRUPTED,
            seq=12,
            tick=9,
            task_id="its-task",
            lease_until_ms=T0 + 5000,
            ended_at_ms=T0 + 610,
            interrupted_at_ms=T0 + 505,
        ),
        had_unresolved=True,
        fence_ms=T0 + 1500,
        unanswered=(
            Unanswered(client_order_id=41, authorised_at_ms=T0 - 3, fate=RequestFate.RESTED, order_id="8"),
        ),
        gone_order_ids=("9",),
        attempt_count=2,
        lost_attempts=1,
    )
    books.book(_booked(receipt))

    ran = books.run("receipt", NAME)

    assert ran.code == 0
    for text in (
        "bp_sol_01, run 1: stopped clean",
        "2026-01-02T00:00:00.000Z by ann@host: tired",
        "cancel own orders, leave the position",
        "seq 12 (tick 9, task its-task): cut short by the cleanup, and committed 0.610 s after the stop",
        "there were; none can arrive after 00:00:01.500Z",
        "client id 41, 2026-01-01T23:59:59.997Z: rested, and was cancelled as order 8",
        "2: 7, 8",
        "gone when cancelled   1: 9",
        "2026-01-02T00:00:00.090Z: no own order",
        "0, by the exchange's own word at 00:00:00.090Z and 00:00:00.090Z",
        "2, 1 without a report",
        "attempt 1 by worker test",
        "+0.012 s            cancels sent  2 orders",
        "+0.090 s            ended clean",
    ):
        assert text in ran.out, text


def test_a_stop_that_is_not_clean_yet_says_so_plainly_while_it_is_stopping(bench: Bench) -> None:
    stop(bench, left=("41",))

    ran = bench.run("receipt", NAME)

    assert ran.code == 3
    assert f"{NAME}, run 1: NOT clean yet (orders_left); the stop goes on" in ran.out
    assert "1: 41" in ran.out
    assert bench.run("receipt", NAME, "--json").json["phase"] == "stopping"


def test_a_failed_stop_says_that_cleanups_go_on(bench: Bench) -> None:
    stop(bench, left=("41",), until=1)

    assert "NOT clean yet (orders_left); it has failed, cleanups go on" in bench.run("receipt", NAME).out


def test_a_stop_that_nobody_has_reported_on_is_not_called_anything_else(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="ann@host", reason="tired", policy=StopPolicy())

    ran = bench.run("receipt", NAME)

    assert ran.code == 3
    assert "run 1 is NOT clean yet: the stop was asked for at" in ran.out
    assert "by ann@host: tired; no attempt has reported yet" in ran.out
    assert bench.run("receipt", NAME, "--json").json["receipt"] is None


def test_older_runs_come_from_the_ledger(books: LedgerBench) -> None:
    stop(books.bench)
    # What waits in the queue counts, too; here the booking of a run before.
    books.tell(_booked(receipt_of_run(books.bench, 1)))
    second = books.bench.start(NAME)

    ran = books.run("receipt", NAME, "--json")

    assert ran.code == 0
    assert (ran.json["source"], ran.json["epoch"], second) == ("ledger", 1, 2)
    assert ran.json["message"] == "run 2 is running; this is the stop before it"
    assert books.run("receipt", NAME, "--epoch", "1", "--json").json["receipt"]["epoch"] == 1


def test_a_run_without_a_receipt_ends_with_a_code_of_its_own(books: LedgerBench) -> None:
    stop(books.bench)

    ran = books.run("receipt", NAME, "--epoch", "5", "--json")

    assert ran.code == 5
    assert (ran.json["receipt"], ran.json["epoch"]) == (None, 5)
    assert ran.json["message"] == "there is no receipt of run 5; run 1 is stopped"
    books.bench.start(NAME)
    assert "run 2 is running: it was not stopped yet" in books.run("receipt", NAME, "--epoch", "2").out


def test_without_a_state_server_the_ledger_tells_and_says_so(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(_booked(receipt_of(books.bench, 4)))
    monkeypatch.setenv("BROKER_URL", NO_REDIS)

    ran = books.run("receipt", NAME, "--json")

    assert (ran.code, ran.json["source"], ran.json["epoch"]) == (0, "ledger", 4)
    assert "the state server does not answer" in ran.err


def test_without_a_ledger_older_runs_are_missing_and_that_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", NO_POSTGRES)
    stop(bench)

    ran = bench.run("receipt", NAME, "--epoch", "7")

    assert ran.code == 5
    assert "the ledger cannot be read, so older receipts are missing" in ran.err


def test_without_either_nothing_is_claimed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", NO_POSTGRES)
    monkeypatch.setenv("BROKER_URL", NO_REDIS)

    ran = bench.run("receipt", NAME)

    assert ran.code == 4
    assert "neither state server nor ledger can be read" in ran.err


def test_a_name_that_nobody_knows_is_bad_usage(books: LedgerBench) -> None:
    books.bench.configure("bp_sol_01")

    ran = books.run("receipt", "bp_sol_02")

    assert ran.code == 2
    assert "did you mean 'bp_sol_01'" in ran.err
    assert books.run("receipt", "bp_sol_01").code == 5


def test_all_receipts_in_a_table_the_newest_first(books: LedgerBench) -> None:
    first = receipt_of(books.bench, 1, result=Result.UNVERIFIED, updated_at_ms=T0)
    books.book(_booked(first), _booked(first.model_copy(update={"epoch": 2, "updated_at_ms": T0 + 5})))
    books.bench.start(NAME)
    books.bench.client.hset(keys.record(NAME), "epoch", 3)
    books.bench.instances.request_stop(NAME, by="ann@host", reason="", policy=StopPolicy())
    books.bench.finish(books.bench.claim(NAME, 3))

    ran = books.run("receipt", NAME, "--all", "--json")

    assert ran.code == 0
    assert [(each["epoch"], each["result"]) for each in ran.json["receipts"]] == [
        (3, "clean"),
        (2, "unverified"),
        (1, "unverified"),
    ]
    lines = books.run("receipt", NAME, "--all").out.splitlines()
    assert lines[0].split()[:2] == ["RUN", "RESULT"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert books.run("receipt", NAME, "--all", "--epoch", "1").code == 2


def test_what_was_accepted_by_a_forced_start_is_told(books: LedgerBench) -> None:
    accepted = Acceptance(by="bob@host", order_ids=("41", "42"))
    books.book(_booked(receipt_of(books.bench, result=Result.ORDERS_LEFT, accepted=accepted)))

    ran = books.run("receipt", NAME)

    assert ran.code == 3
    assert "NOT clean (orders_left) when bob@host forced a new run over it" in ran.out
    assert "accepted as left      2: 41, 42, by bob@host" in ran.out


def receipt_of_run(bench: Bench, epoch: int) -> Receipt:
    """Return the receipt in the record, as a booking would have it."""
    from runner.receipt_reading import read_receipt

    return read_receipt(bench.record(NAME).outcome).model_copy(update={"epoch": epoch})


def _booked(receipt: Receipt) -> Any:
    from ledger.bookings import from_json

    return from_json(receipt_booking(receipt))


def test_a_record_that_cannot_be_read_leaves_what_the_ledger_has(books: LedgerBench) -> None:
    books.book(_booked(receipt_of(books.bench, 4)))
    books.bench.start(NAME)
    books.bench.client.hset(keys.record(NAME), "epoch", "many")

    ran = books.run("receipt", NAME, "--json")

    assert (ran.code, ran.json["source"], ran.json["epoch"]) == (0, "ledger", 4)
    assert "only what the ledger has is shown" in ran.err
