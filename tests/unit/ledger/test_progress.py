"""How an instance came to where it is, held against the profit that is worked out for the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.bookings import Booking
from ledger.database import Ledger
from ledger.folded_days import extend
from ledger.folding import PRECISION, Folding
from ledger.profit import profit
from ledger.progress import Point, Progress, progress
from ledger.retention import prune
from tests.unit.ledger import story
from tests.unit.ledger.profit_cases import tellings
from tests.unit.ledger.story import DAY_MS, INSTANCE, PERP, T0
from tests.unit.ledger.test_profit import traded

TINY = Decimal("1E-40")


def only(found: tuple[Progress, ...]) -> Progress:
    (one,) = found
    return one


def test_each_fill_is_a_point_and_the_first_one_is_where_it_stood(ledger: Ledger) -> None:
    ledger.book(
        [
            traded(1, "sell", "2", "100", fee=Decimal("0.1")),
            traded(2, "buy", "1", "90", fee=Decimal("0.2")),
            traded(3, "buy", "1", "95", fee=Decimal(0)),
        ]
    )
    found = only(progress(ledger, INSTANCE, since_ms=T0 + 2000))
    assert (found.symbol, found.quote_asset) == (PERP, "USDC")
    told = [(point.at_ms - T0, point.net_quantity, point.closed_profit) for point in found.points]
    expected = [(2000, Decimal(-2), "-0.1"), (2000, Decimal(-1), "9.7"), (3000, Decimal(0), "14.7")]
    assert told == [(at_ms, net, Decimal(closed)) for at_ms, net, closed in expected]


def test_who_never_traded_has_none_and_others_do_not_count(ledger: Ledger) -> None:
    ledger.book([traded(1, "sell", "2", "100"), traded(2, "sell", "3", "100", instance_id="mm_02")])
    assert progress(ledger, "nobody", since_ms=0) == ()
    assert only(progress(ledger, INSTANCE, since_ms=0)).points[-1].net_quantity == -2


def test_what_is_folded_changes_no_point(ledger: Ledger) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(told=tellings(), since=st.integers(0, 10 * DAY_MS), edge=st.integers(0, 10 * DAY_MS))
    def holds(told: list[Booking], since: int, edge: int) -> None:
        story.empty(ledger)
        ledger.book(told)
        expected = progress(ledger, INSTANCE, since_ms=T0 + since)
        list(extend(ledger, before_ms=T0 + edge))
        assert _rounded(progress(ledger, INSTANCE, since_ms=T0 + since)) == _rounded(expected)

    holds()


def test_of_very_many_fills_only_the_newest_are_read_and_of_the_days_before_their_ends(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_s = 3600
    sides = ("buy", "buy", "sell")
    ledger.book([traded(n * hour_s, sides[n % 3], "1", str(100 + n)) for n in range(5 * 24)])
    since_ms = T0 + DAY_MS // 2
    everything = only(progress(ledger, INSTANCE, since_ms=since_ms)).points
    list(extend(ledger, before_ms=T0 + 5 * DAY_MS))
    read: list[int] = []
    adds = Folding.add_fill

    def noted(folding: Folding, row: Mapping[str, Any]) -> None:
        read.append(row["id"])
        adds(folding, row)

    monkeypatch.setattr(Folding, "add_fill", noted)
    found = only(progress(ledger, INSTANCE, since_ms=since_ms, most_fills=40)).points
    # The first half day, to know where it stood then, and the last one.
    assert len(read) == 12 + 24
    ends = [point for point in everything if (point.at_ms + hour_s * 1000 - T0) % DAY_MS == 0][:4]
    # Where it stood at the beginning, four ends of days, the last day fill by fill.
    assert [(point.net_quantity, point.closed_profit) for point in found] == [
        (point.net_quantity, point.closed_profit) for point in (everything[0], *ends, *everything[-24:])
    ]
    assert [point.at_ms for point in found[1:5]] == [T0 + number * DAY_MS for number in range(1, 5)]


def _rounded(found: tuple[Progress, ...]) -> list[Progress]:
    """Return them without the last of 60 digits, which depends on where a sum was begun."""

    def rounded(point: Point) -> Point:
        return replace(point, closed_profit=round(point.closed_profit, 40))

    with localcontext(PRECISION):
        return [replace(each, points=tuple(map(rounded, each.points))) for each in found]


def test_it_ends_where_the_profit_is_whatever_was_told_or_folded(ledger: Ledger) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(told=tellings(), since=st.integers(0, 10 * DAY_MS), cut=st.integers(0, 10 * DAY_MS))
    def holds(told: list[Booking], since: int, cut: int) -> None:
        story.empty(ledger)
        ledger.book(told)
        prune(ledger, before_ms=T0 + cut)
        whole = {row.symbol: row for row in profit(ledger, instance_id=INSTANCE)}
        for found in progress(ledger, INSTANCE, since_ms=T0 + since):
            last = found.points[-1]
            with localcontext(PRECISION):
                assert abs(last.closed_profit - whole[found.symbol].closed_total) < TINY
            assert last.net_quantity == whole[found.symbol].net_quantity
            assert [point.at_ms for point in found.points] == sorted(point.at_ms for point in found.points)
            assert found.points[0].at_ms == T0 + since

    holds()
