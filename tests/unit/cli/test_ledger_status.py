"""`manage.py ledger`: what it says of the ledger, and `--prune`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.database import open_ledger
from market.orders import OrderStatus, Side
from tests.unit.cli.ledger_bench import NO_POSTGRES, NO_REDIS, PASSWORD, LedgerBench
from tests.unit.ledger.story import DAY_MS, INSTANCE, T0, event, fill, order

#: Older than any setting by default, whatever this machine's clock says.
OLD = T0 - 3000 * DAY_MS


def test_it_says_where_the_ledger_stands(books: LedgerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_KEEP_DAYS", "37")
    books.book(fill("1"), order("1", at_ms=T0 + 5))
    books.tell(fill("2", filled_at_ms=T0 + DAY_MS))

    told = books.run("ledger", "--json").json
    seen = books.run("ledger").out

    with open_ledger(books.url) as ledger:
        assert told["ledger_id"] == ledger.ledger_id
    assert told["database"] == f"sqlite+pysqlite:///{books.path}"
    assert (told["carried_over"], told["waiting"], told["rejected"]) == (1, 0, [])
    assert (told["rows"]["fills"], told["rows"]["orders"]) == (2, 1)
    assert (told["newest"]["fill"], told["newest"]["snapshot"]) == ("2026-01-03T00:00:00.000Z", None)
    assert told["retention"] == {"keep_days": 37, "keep_events_days": 90}
    assert told["pruned"] is None
    assert f"database              sqlite+pysqlite:///{books.path}" in seen
    assert "newest fill           2026-01-03T00:00:00.000Z" in seen
    assert "kept                  fills and orders 37 d, events 90 d" in seen


def test_rejected_bookings_are_counted_and_shown_with_their_reason(books: LedgerBench) -> None:
    books.tell(fill("1", quantity=Decimal(0)), fill("2"))

    counted, shown = books.run("ledger").out, books.run("ledger", "--rejected").out

    assert "rejected              1; --rejected shows why" in counted
    assert "a fill of 0 at 100 is none" not in counted
    assert shown.splitlines()[-1].split(maxsplit=3) == [
        "fill",
        "backpack:0123456789",
        INSTANCE,
        "a fill of 0 at 100 is none",
    ]
    (told,) = books.run("ledger", "--json").json["rejected"]
    assert (told["reason"], told["booking"]["trade_id"]) == ("a fill of 0 at 100 is none", "1")


def test_pruning_leaves_profit_as_it_was(books: LedgerBench) -> None:
    books.book(
        fill("1", filled_at_ms=OLD),
        fill("2", side=Side.SELL, price=Decimal(103), filled_at_ms=OLD + 1),
        order("1", OrderStatus.FILLED, at_ms=OLD + 1),
        event("cleanup_step", OLD),
    )
    before = books.rows("pnl")
    assert before[0]["realized"] == "3"

    ran = books.run("ledger", "--prune", "--json")

    assert ran.json["pruned"] == {"fills": 2, "funding": 0, "orders": 1, "events": 1, "snapshots": 0}
    assert ran.json["rows"]["fills"] == 0
    assert books.rows("pnl") == before
    assert "pruned now            0 fills, " in books.run("ledger", "--prune").out


def test_what_is_younger_than_the_settings_say_is_kept(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_KEEP_DAYS", "36500")
    books.book(fill("1", filled_at_ms=OLD), event("cleanup_step", OLD))

    pruned = books.run("ledger", "--prune", "--json").json["pruned"]

    assert (pruned["fills"], pruned["events"]) == (0, 1)


def test_nothing_is_pruned_while_bookings_may_wait_unseen(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(fill("1", filled_at_ms=OLD))
    monkeypatch.setenv("BROKER_URL", NO_REDIS)

    ran = books.run("ledger", "--prune")

    assert ran.code == 4
    assert "nothing was pruned: the state server does not answer" in ran.err
    assert books.run("ledger", "--json").json["rows"]["fills"] == 1


def test_without_the_database_it_says_how_many_bookings_wait(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.tell(fill("1"), fill("2"))
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", NO_POSTGRES)

    ran = books.run("ledger")

    assert ran.code == 4
    assert "2 bookings wait in the state server" in ran.err
    assert PASSWORD not in ran.err
