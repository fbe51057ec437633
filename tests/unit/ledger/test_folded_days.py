"""What is folded is not read again, and what comes late takes back the days from it on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from ledger import schema
from ledger.database import Ledger
from ledger.folded_days import extend
from ledger.folding import Folding
from ledger.profit import Grouping, profit
from ledger.retention import prune
from tests.unit.ledger import story
from tests.unit.ledger.story import DAY_MS, PERP, SYMBOL, T0

HOURS = 6 * 24
HOUR_MS = 3_600_000
#: In the middle of the last day: half of it is folded.
EDGE_MS = T0 + 5 * DAY_MS + DAY_MS // 2


@pytest.fixture(autouse=True)
def traded(ledger: Ledger) -> None:
    """Have a fill every hour of six days."""
    times = [T0 + hour * HOUR_MS for hour in range(HOURS)]
    ledger.book([story.fill(str(n), order_id=str(n), filled_at_ms=at_ms) for n, at_ms in enumerate(times)])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where the time of each fill goes that is folded from now on."""
    times: list[int] = []
    adds = Folding.add_fill

    def noted(folding: Folding, row: Mapping[str, Any]) -> None:
        times.append(row["filled_at_ms"])
        adds(folding, row)

    monkeypatch.setattr(Folding, "add_fill", noted)
    return times


def fold(ledger: Ledger) -> int:
    """Fold, and return in how many transactions."""
    return len(list(extend(ledger, before_ms=EDGE_MS)))


def days(ledger: Ledger) -> list[str]:
    table = schema.folded_days
    with ledger.reading() as connection:
        return list(connection.execute(select(table.c.day).order_by(table.c.until_ms)).scalars())


def test_only_what_is_not_folded_is_read(ledger: Ledger, read: list[int]) -> None:
    assert fold(ledger) == 1
    assert days(ledger) == [f"2026-01-0{day}" for day in range(2, 8)]
    read.clear()
    assert sum(row.fills for row in profit(ledger)) == HOURS
    assert (len(read), min(read)) == (12, EDGE_MS)
    read.clear()
    assert fold(ledger) == 0
    assert read == []


def test_a_part_of_a_day_is_folded_further(ledger: Ledger, read: list[int]) -> None:
    fold(ledger)
    read.clear()
    list(extend(ledger, before_ms=EDGE_MS + 2 * HOUR_MS))
    assert len(read) == 2
    assert days(ledger)[-2:] == ["2026-01-06", "2026-01-07"]


def test_a_transaction_folds_no_more_than_so_many(ledger: Ledger, read: list[int]) -> None:
    times = len(list(extend(ledger, before_ms=EDGE_MS, fills_at_once=10)))
    assert times == -(-(HOURS - 12) // 10)
    assert len(read) == HOURS - 12


def test_a_late_fill_takes_back_the_days_from_its_own_on(ledger: Ledger, read: list[int]) -> None:
    fold(ledger)
    late_ms = T0 + 3 * DAY_MS + 1
    ledger.book([story.fill("late", filled_at_ms=late_ms), story.fill("0", order_id="0")])
    assert days(ledger) == ["2026-01-02", "2026-01-03", "2026-01-04"]
    read.clear()
    assert sum(row.fills for row in profit(ledger)) == HOURS + 1
    assert min(read) == T0 + 3 * DAY_MS
    fold(ledger)
    assert len(days(ledger)) == 6


@pytest.mark.parametrize(("after_ms", "left"), [(-1, 2), (0, 3)])
def test_a_day_has_what_came_before_its_end(ledger: Ledger, after_ms: int, left: int) -> None:
    fold(ledger)
    ledger.book([story.fill("late", filled_at_ms=T0 + 3 * DAY_MS + after_ms)])
    assert len(days(ledger)) == left


def test_a_late_funding_takes_back_and_so_does_a_fill_that_is_deleted(ledger: Ledger) -> None:
    fold(ledger)
    ledger.book([story.funding(symbol=SYMBOL, at_ms=T0 + 5 * DAY_MS)])
    assert len(days(ledger)) == 5
    with ledger.writing() as connection:
        connection.execute(delete(schema.fills).where(schema.fills.c.trade_id == "30"))
    assert len(days(ledger)) == 1


def test_other_markets_and_newer_fills_take_nothing_back(ledger: Ledger) -> None:
    fold(ledger)
    ledger.book([story.fill("late", symbol=PERP), story.funding(), story.fill("new", filled_at_ms=EDGE_MS)])
    ledger.book([story.fill("late", account="backpack:other")])
    assert len(days(ledger)) == 6


def test_what_is_changed_by_hand_counts(ledger: Ledger) -> None:
    fold(ledger)
    table = schema.fills
    with ledger.writing() as connection:
        connection.execute(update(table).where(table.c.trade_id == "70").values(instance_id="mm_02"))
    assert days(ledger) == ["2026-01-02", "2026-01-03"]
    assert {row.instance_id: row.fills for row in profit(ledger)} == {"mm_01": HOURS - 1, "mm_02": 1}


def test_retention_leaves_what_is_folded_behind_it(ledger: Ledger, read: list[int]) -> None:
    fold(ledger)
    prune(ledger, before_ms=T0 + 2 * DAY_MS + 1)
    assert days(ledger) == [f"2026-01-0{day}" for day in range(4, 8)]
    read.clear()
    assert sum(row.fills for row in profit(ledger)) == HOURS
    assert len(read) == 12


def test_days_that_retention_of_an_older_version_has_left_are_not_used(ledger: Ledger) -> None:
    fold(ledger)
    table = schema.folded_days
    with ledger.reading() as connection:
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
    prune(ledger, before_ms=EDGE_MS + HOUR_MS)
    with ledger.writing() as connection:
        connection.execute(insert(table), rows)
    assert sum(row.fills for row in profit(ledger)) == HOURS


def test_of_one_day_only_its_sums_are_read(ledger: Ledger, read: list[int]) -> None:
    fold(ledger)
    read.clear()
    assert profit(ledger, by=Grouping.DAY, since_day="2026-01-08") == ()
    assert len(read) == 12
    read.clear()
    (last,) = profit(ledger, by=Grouping.DAY, since_day="2026-01-07")
    assert (last.day, last.fills, last.symbol) == ("2026-01-07", 24, SYMBOL)
    assert len(read) == 12
    # What it came to is from all the days before.
    assert last.net_quantity == HOURS


def test_a_run_whose_start_is_told_late_gets_its_fills(ledger: Ledger, read: list[int]) -> None:
    fold(ledger)
    started_ms = T0 + 4 * DAY_MS
    ledger.book([story.event("started", T0), story.event("started", started_ms)])
    by_run = [(row.started_at_ms, row.fills) for row in profit(ledger, by=Grouping.RUN)]
    assert by_run == [(T0, 4 * 24), (started_ms, 2 * 24)]
    assert fold(ledger) == 0
    ledger.book([story.fill("next", filled_at_ms=T0 + HOURS * HOUR_MS)])
    list(extend(ledger, before_ms=T0 + 7 * DAY_MS))
    read.clear()
    assert sum(row.fills for row in profit(ledger)) == HOURS + 1
    assert read == []


def test_sums_of_retention_for_a_run_that_was_not_known_do_not_keep_it_from_an_end(
    ledger: Ledger, read: list[int]
) -> None:
    prune(ledger, before_ms=T0 + DAY_MS // 2)
    ledger.book([story.event("started", T0 - 1), story.event("started", T0 + DAY_MS)])
    expected = profit(ledger, by=Grouping.RUN)
    assert [row.started_at_ms for row in expected] == [0, T0 - 1, T0 + DAY_MS]
    passes = extend(ledger, before_ms=EDGE_MS, fills_at_once=10)
    assert len(list(islice(passes, 100))) == 12
    read.clear()
    assert profit(ledger, by=Grouping.RUN) == expected
    assert len(read) == 12
