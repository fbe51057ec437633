"""`orders`, `fills` and `events` of a ledger, and what all commands of the ledger have in common."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from ledger.bookings import FillBooking
from ledger.database import open_ledger
from market.orders import OrderStatus, Side
from state.bookings import BookingQueue
from tests.unit.cli.ledger_bench import NO_POSTGRES, NO_REDIS, PASSWORD, LedgerBench, columns_of
from tests.unit.ledger.story import INSTANCE, T0, event, fill, order

READING = [("orders", INSTANCE), ("fills", INSTANCE), ("events", INSTANCE), ("pnl",), ("ledger",)]


def test_orders_are_a_table_newest_first(books: LedgerBench) -> None:
    books.book(
        order("41", price=Decimal("99.50"), quantity=Decimal("1.25")),
        order("42", OrderStatus.CANCELLED, price=None, at_ms=T0 + 1, reason="why\n\x1b[2Jnot", role=2),
    )

    ran = books.run("orders", INSTANCE)

    assert ran.code == 0
    assert columns_of(ran)[:4] == ["UPDATED", "SYMBOL", "SIDE", "PRICE"]
    newest, oldest = ran.out.splitlines()[1:]
    assert newest.split()[1:8] == ["SOL_USDC", "buy", "market", "2", "0", "cancelled", "hedge"]
    assert newest.endswith("42     why [2Jnot")
    assert oldest.split()[:5] == ["2026-01-02T00:00:00.000Z", "SOL_USDC", "buy", "99.5", "1.25"]
    assert newest.index("2 ") > 0
    assert "\x1b" not in ran.out


def test_numbers_stand_below_each_other(books: LedgerBench) -> None:
    books.book(
        fill("1", price=Decimal("9.5")), fill("2", price=Decimal("101")), fill("3", price=Decimal("12.3456"))
    )

    head, *lines = books.run("fills", INSTANCE).out.splitlines()

    prices = [line[head.index("SIDE") + 4 : head.index("PRICE") + 5] for line in lines]
    assert [price.rstrip() for price in prices] == ["   12.3456", "  101", "    9.5"]


def test_orders_can_be_narrowed_down(books: LedgerBench) -> None:
    books.book(
        order("41", at_ms=T0),
        order("42", OrderStatus.FILLED, at_ms=T0 + 1000),
        order("43", at_ms=T0 + 2000, epoch=2),
    )

    def found(*options: str) -> list[str]:
        return [row["order_id"] for row in books.rows("orders", INSTANCE, *options)]

    assert found() == ["43", "42", "41"]
    assert found("--open") == ["43", "41"]
    assert found("--run", "2") == ["43"]
    assert found("--since", "2026-01-02T00:00:01") == ["43", "42"]
    assert found("--limit", "1") == ["43"]


def test_a_list_that_was_cut_says_so(books: LedgerBench) -> None:
    books.book(fill("1"), fill("2"))

    assert "newest 1 fills; --limit shows more" in books.run("fills", INSTANCE, "--limit", "1").err
    assert books.run("fills", INSTANCE, "--limit", "1", "--json").json["has_more"] is True
    assert "--limit" not in books.run("fills", INSTANCE, "--limit", "2").err


def test_json_and_csv_of_fills_are_exact(books: LedgerBench) -> None:
    price, fee = Decimal("100.123456789012345678"), Decimal("-0.0000000012")
    books.book(fill("9", price=price, fee=fee, side=Side.SELL, order_id='a"b,c'))

    ran = books.run("fills", INSTANCE, "--json")
    (told,) = ran.json["fills"]
    (row,) = books.rows("fills", INSTANCE)

    assert (told["price"], told["fee"], told["is_maker"]) == (str(price), "-0.0000000012", True)
    assert told["filled_at"] == row["filled_at"] == "2026-01-02T00:00:00.000Z"
    assert (row["price"], row["fee"], row["is_maker"]) == (str(price), "-0.0000000012", "true")
    assert (row["order_id"], row["role"]) == ('a"b,c', "quote")
    assert ran.json["up_to_date"] is True


def test_csv_is_rfc_4180(books: LedgerBench) -> None:
    books.book(fill("9", order_id='a"b,c', level=None))

    lines = books.run("fills", INSTANCE, "--csv").out.split("\r\n")

    assert lines[0].startswith("filled_at,account,instance_id,epoch,symbol,")
    assert '"a""b,c"' in lines[1]
    assert lines[2:] == [""]


def test_people_read_money_rounded(books: LedgerBench) -> None:
    books.book(
        fill("9", price=Decimal("100.12345678912"), quantity=Decimal("3"), fee=Decimal("0.1234567891"))
    )

    line = books.run("fills", INSTANCE).out.splitlines()[1].split()

    assert line[3:7] == ["100.12345679", "3", "300.37", "0.12345679"]


def test_events_are_told_oldest_first(books: LedgerBench) -> None:
    books.book(
        event("started", T0, fields={"by": "me", "config_version": "v1"}),
        event("cleanup_step", T0 + 1, fields={"step": "verified", "detail": ""}),
    )

    first, second = books.run("events", INSTANCE).out.splitlines()[1:]

    assert first.split() == ["2026-01-02T00:00:00.000Z", "1", "started", "by", "me,", "config_version", "v1"]
    assert second.split()[2:] == ["cleanup_step", "verified"]
    assert [e["event"] for e in books.run("events", INSTANCE, "--json").json["events"]] == [
        "started",
        "cleanup_step",
    ]
    (row, _) = books.rows("events", INSTANCE)
    assert json.loads(row["fields"]) == {"by": "me", "config_version": "v1"}


def test_what_waits_in_redis_is_carried_over_first(books: LedgerBench) -> None:
    books.tell(fill("1"), order("1"))
    books.bench.start(INSTANCE)

    assert len(books.rows("fills", INSTANCE)) == 1
    assert books.waiting() == 0
    assert [row["event"] for row in books.rows("events", INSTANCE)] == ["started"]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_booking_that_cannot_be_read_does_not_spoil_the_data(
    books: LedgerBench, how: tuple[str, ...]
) -> None:
    BookingQueue(books.bench.client).add(['{"kind": "nonsense"}'])
    books.tell(fill("1"))

    ran = books.run("fills", INSTANCE, *how)

    assert ran.code == 0
    assert "nonsense" not in ran.out
    assert "booking cannot be read" in ran.err


@pytest.mark.parametrize("command", READING)
def test_without_the_state_server_the_ledger_is_shown_with_a_warning(
    books: LedgerBench, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(fill("1"), order("1"), event("started"))
    monkeypatch.setenv("BROKER_URL", NO_REDIS)

    ran = books.run(*command)

    assert ran.code == 0
    assert "warning: the state server does not answer" in ran.err
    assert ran.out.strip()
    assert books.run(*command, "--json").json["up_to_date"] is False


@pytest.mark.parametrize("command", READING)
def test_another_ledger_is_refused(books: LedgerBench, command: tuple[str, ...]) -> None:
    BookingQueue(books.bench.client).claim_ledger("the-other-one")
    books.tell(fill("1"))
    books.book(fill("2"))

    ran = books.run(*command)

    assert ran.code == 2
    assert "go to ledger the-other-one" in ran.err
    assert ran.out == ""
    assert books.waiting() == 1


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_database_that_is_away_loses_nothing_and_tells_no_password(
    books: LedgerBench, command: tuple[str, ...], how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", NO_POSTGRES)
    books.tell(fill("1"))

    ran = books.run(*command, *how)

    assert ran.code == 4
    assert "postgresql+psycopg://cleanbook:***@127.0.0.1:1/books" in ran.err
    assert "Bookings wait in the state server" in ran.err
    assert PASSWORD not in ran.out + ran.err
    assert books.waiting() == 1
    if how:
        assert ran.json["exit_code"] == 4


@pytest.mark.parametrize("command", ["orders", "fills", "events", "pnl"])
def test_an_unknown_instance_is_bad_usage_with_the_one_that_was_meant(
    books: LedgerBench, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(order("1", instance_id="bp_sol_01"))

    ran = books.run(command, "bp_sol_1")

    assert ran.code == 2
    assert "there is no instance 'bp_sol_1'; did you mean 'bp_sol_01'?" in ran.err
    monkeypatch.setenv("BROKER_URL", NO_REDIS)
    assert "did you mean 'bp_sol_01'?" in books.run(command, "bp_sol_1").err


def test_an_instance_that_only_has_a_file_has_no_fills_yet(books: LedgerBench) -> None:
    books.bench.configure("new_01")

    ran = books.run("fills", "new_01")

    assert (ran.code, ran.out, ran.err) == (0, "", "no fills\n")


def test_formats_exclude_each_other(books: LedgerBench) -> None:
    ran = books.run("fills", INSTANCE, "--csv", "--json")

    assert ran.code == 2
    assert "--json and --csv exclude each other" in ran.err


@pytest.mark.parametrize("age_h", [1, 3])
def test_since_takes_a_length_of_time(books: LedgerBench, age_h: int) -> None:
    at_ms = time.time_ns() // 1_000_000 - age_h * 3_600_000
    books.book(fill("1", filled_at_ms=at_ms))

    assert len(books.rows("fills", INSTANCE, "--since", "2h")) == (1 if age_h == 1 else 0)


def test_since_that_is_no_moment_is_bad_usage(books: LedgerBench) -> None:
    ran = books.run("fills", INSTANCE, "--since", "yesterday")

    assert ran.code == 2
    assert "'yesterday' is no moment; write 2026-03-01" in ran.err


def test_a_ledger_on_disk_that_cannot_be_opened_ends_with_4(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.path.mkdir(parents=True)

    assert books.run("fills", INSTANCE).code == 4


def test_reading_twice_books_once(books: LedgerBench) -> None:
    told: FillBooking = fill("1")
    books.tell(told, told)
    books.run("fills", INSTANCE)
    books.tell(told)

    assert len(books.rows("fills", INSTANCE)) == 1
    with open_ledger(books.url) as ledger:
        assert ledger.cursor("events") is None
