"""What must hold of booking on every database; subclasses bring the fixture `ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, update

from ledger import booking, migrating, queries, rows, schema
from ledger.bookings import Booking
from ledger.database import Ledger, open_ledger
from ledger.folded_days import extend
from ledger.profit import Grouping, profit
from ledger.receipts import receipts
from market.orders import OrderStatus
from tests.unit.ledger import story
from tests.unit.ledger.story import ACCOUNT, INSTANCE, SYMBOL, T0

#: Who told first is not the same in every order.
WITHOUT = ("id", "source")


def batches() -> st.SearchStrategy[list[list[Booking]]]:
    """Everything at least once, shuffled, some of it again, cut into batches."""
    life = story.life()
    again = st.lists(st.sampled_from(life), max_size=10)
    told = again.flatmap(lambda extra: st.permutations([*life, *extra]))
    return st.tuples(told, st.lists(st.integers(0, 30), max_size=4)).map(lambda drawn: _cut(*drawn))


def _cut(told: list[Booking], places: list[int]) -> list[list[Booking]]:
    edges = [0, *sorted(places), len(told)]
    return [told[start:end] for start, end in pairwise(edges)]


class BookingCases:
    #: The ledger is emptied for each.
    examples = 40

    def test_the_migrations_make_what_the_code_expects(self, ledger: Ledger) -> None:
        with ledger.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, schema.metadata) == []

    @pytest.mark.parametrize("revision", ["0001", "0002"])
    def test_an_older_ledger_is_brought_up_to_date_with_all_it_holds(
        self, ledger: Ledger, ledger_url: str, revision: str
    ) -> None:
        ledger.book([told for told in story.life() if told.kind != "receipt"])
        made = profit(ledger, by=Grouping.RUN)
        list(extend(ledger, before_ms=T0 + story.DAY_MS))
        with ledger.writing() as connection:
            config = migrating._config()
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
            assert not inspect(connection).has_table("folded_days")
            # An older version goes on with it: no trigger is left.
            connection.execute(update(schema.fills).values(level=1))
        with open_ledger(ledger_url) as again:
            assert again.ledger_id == ledger.ledger_id
            with again.reading() as connection:
                context = MigrationContext.configure(connection, opts={"compare_type": True})
                assert compare_metadata(context, schema.metadata) == []
            assert profit(again, by=Grouping.RUN) == made
            list(extend(again, before_ms=T0 + story.DAY_MS))
            assert profit(again, by=Grouping.RUN) == made
            assert queries.counts(again)["folded_days"] == 2

    def test_a_ledger_keeps_its_id(self, ledger: Ledger, ledger_url: str) -> None:
        with open_ledger(ledger_url) as again:
            assert again.ledger_id == ledger.ledger_id
        assert len(ledger.ledger_id) == 16

    def test_any_order_and_any_repetition_give_the_same_rows(self, ledger: Ledger) -> None:
        ledger.book(story.life())
        expected = story.rows(ledger, without=WITHOUT)

        @settings(max_examples=self.examples, deadline=None)
        @given(told=batches())
        def holds(told: list[list[Booking]]) -> None:
            story.empty(ledger)
            for batch in told:
                ledger.book(batch)
            assert story.rows(ledger, without=WITHOUT) == expected

        holds()

    def test_what_was_booked_changes_nothing_the_second_time(self, ledger: Ledger) -> None:
        first = ledger.book(story.life())
        assert (first.orders, first.fills, first.funding, first.events) == (3, 4, 1, 8)
        kept = story.rows(ledger)
        assert ledger.book(story.life()) == booking.BookResult()
        assert story.rows(ledger) == kept

    def test_orders_end_once(self, ledger: Ledger) -> None:
        ledger.book(story.life())
        by_id = {record.order_id: record for record in queries.orders(ledger, INSTANCE)}
        assert by_id["1"].status is OrderStatus.FILLED
        assert by_id["1"].executed == 2
        assert by_id["1"].created_at_ms == T0
        # Told to be new again, later: the list lagged.
        assert by_id["2"].status is OrderStatus.CANCELLED
        assert by_id["2"].reason == "user"
        assert by_id["2"].level == 0
        assert by_id["3"].epoch == 1
        assert by_id["3"].executed == Decimal("0.5")

    def test_an_expired_order_stays_so_where_an_iteration_later_finds_it_gone(self, ledger: Ledger) -> None:
        ledger.book([story.order(status=OrderStatus.EXPIRED, reason="ImmediateOrCancel")])
        ledger.book([story.order(status=OrderStatus.CANCELLED, at_ms=T0 + 60_000)])
        (record,) = queries.orders(ledger, INSTANCE)
        assert (record.status, record.reason) == (OrderStatus.EXPIRED, "ImmediateOrCancel")

    def test_a_fill_takes_its_owner_from_its_order(self, ledger: Ledger) -> None:
        ledger.book([story.fill("1", instance_id="", epoch=0, level=None, role=None)])
        assert queries.fills(ledger, INSTANCE) == ()
        result = ledger.book([story.order(level=3, role=1, epoch=4)])
        assert (result.orders, result.updated) == (1, 1)
        (record,) = queries.fills(ledger, INSTANCE)
        assert (record.epoch, record.level, record.role) == (4, 3, 1)

    def test_two_orders_may_share_a_trade_and_two_symbols_a_trade_id(self, ledger: Ledger) -> None:
        told = [story.fill("1"), story.fill("1", order_id="2"), story.fill("1", symbol=story.PERP)]
        told += [story.fill("1", account="backpack:other")]
        assert ledger.book(told).fills == 4

    def test_what_was_first_told_of_a_fill_stands(self, ledger: Ledger) -> None:
        ledger.book([story.fill(fee=Decimal(1), instance_id="", epoch=0)])
        ledger.book([story.fill(fee=Decimal(2), source="rest")])
        (record,) = queries.fills(ledger, INSTANCE)
        assert (record.fee, record.source, record.epoch) == (Decimal(1), "stream", 1)

    @pytest.mark.parametrize(
        "text", ["123456789012345678901234567890", "0.123456789012345678901234567891", "-7.10", "1E+5"]
    )
    def test_decimals_are_exact(self, ledger: Ledger, text: str) -> None:
        ledger.book([story.fill(fee=Decimal(text))])
        assert queries.fills(ledger, INSTANCE)[0].fee == Decimal(text)

    def test_a_failure_books_nothing(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: Any) -> int:
            raise RuntimeError("power cut")

        monkeypatch.setattr(booking, "insert_missing", fails)
        with pytest.raises(RuntimeError, match="power cut"):
            ledger.book(story.life(), cursors={"orders": "5-0"})
        monkeypatch.undo()
        assert all(not found for found in story.rows(ledger).values())
        assert ledger.cursor("orders") is None

    def test_cursors_are_kept_with_the_bookings(self, ledger: Ledger) -> None:
        ledger.book([], cursors={"orders": "5-0", "events": "1-0"})
        ledger.book([story.fill()], cursors={"orders": "6-0"})
        assert (ledger.cursor("orders"), ledger.cursor("events")) == ("6-0", "1-0")

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (story.fill("7", price=Decimal(0)), "a fill of 1 at 0 is none"),
            (story.fill("7", epoch=2**63), "epoch 9223372036854775808 is too large"),
            (story.fill("7", fee=Decimal("1E+200")), "fee 1E[+]200 is too large or too small"),
            (story.order("7", reason="\0"), "reason has a zero character"),
            (story.event("started", stream_id="now"), "stream_id 'now' is no <ms>-<number>"),
        ],
    )
    def test_one_bad_booking_is_put_aside(self, ledger: Ledger, bad: Booking, reason: str) -> None:
        for _ in range(2):
            result = ledger.book([story.fill("1"), bad, story.fill("2")])
            assert result.rejected == 1
        assert queries.counts(ledger)["fills"] == 2
        (row,) = story.rows(ledger)["rejected"]
        assert row["kind"] == bad.kind
        assert reason.replace("[+]", "+") in row["reason"]

    def test_what_the_database_itself_refuses_is_put_aside(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "problem_of", lambda _: "")
        result = ledger.book([story.fill("1"), story.fill("2", order_id="2", epoch=2**70), story.order("1")])
        assert (result.fills, result.orders, result.rejected) == (1, 1, 1)
        assert len(story.rows(ledger)["rejected"]) == 1

    def test_runs_follow_from_events(self, ledger: Ledger) -> None:
        ledger.book(story.life())
        second, first = queries.runs(ledger, INSTANCE)
        assert (first.epoch, first.started_at_ms, first.config_version) == (1, T0 - 10, "v1")
        assert (first.account, first.started_by) == (ACCOUNT, "cli")
        assert (first.stop_requested_at_ms, first.stop_by, first.stop_reason) == (T0 + 60, "cli", "tired")
        assert (first.finished_at_ms, first.outcome) == (T0 + 90, "clean")
        # The epoch is used again: another run.
        assert (second.epoch, second.started_at_ms, second.stop_by) == (1, T0 + 100, "strategy")
        assert (second.finished_at_ms, second.outcome) == (None, "")

    def test_a_receipt_is_as_of_its_last_attempt_whatever_comes_last(self, ledger: Ledger) -> None:
        told = [story.receipt("clean", T0 + 9, attempts=3), story.receipt("orders_left", T0 + 5, attempts=2)]
        ledger.book(told)
        ledger.book([story.receipt("unverified", T0)])
        (found,) = receipts(ledger)
        assert (found.result, found.attempts, found.is_clean) == ("clean", 3, True)
        assert found.content == {"result": "clean"}
        ledger.book([story.receipt("orders_left", T0 + 10, attempts=4)])
        (found,) = receipts(ledger)
        assert (found.result, found.attempts, found.updated_at_ms) == ("orders_left", 4, T0 + 10)

    def test_a_state_server_that_began_anew_replaces_no_receipt(self, ledger: Ledger) -> None:
        ledger.book([story.receipt(), story.receipt("unverified", T0 + 60, started_at_ms=T0 + 50)])
        assert [found.result for found in receipts(ledger, instance_id=INSTANCE, epoch=1)] == [
            "unverified",
            "clean",
        ]

    def test_receipts_are_selected_newest_first(self, ledger: Ledger) -> None:
        ledger.book(
            [
                story.receipt(epoch=1),
                story.receipt("unverified", T0 + 5, epoch=2, requested_at_ms=None),
                story.receipt(updated_at_ms=T0 + 9, instance_id="mm_02", account="backpack:other"),
            ]
        )

        def found(**wanted: Any) -> list[tuple[str, int]]:
            return [(each.instance_id, each.epoch) for each in receipts(ledger, **wanted)]

        assert found() == [("mm_02", 1), (INSTANCE, 2), (INSTANCE, 1)]
        assert found(instance_id=INSTANCE) == [(INSTANCE, 2), (INSTANCE, 1)]
        assert found(instance_id=INSTANCE, epoch=1) == [(INSTANCE, 1)]
        assert found(account="backpack:other") == [("mm_02", 1)]
        assert found(since_ms=T0 + 5) == [("mm_02", 1), (INSTANCE, 2)]
        assert found(limit=1) == [("mm_02", 1)]
        assert receipts(ledger, epoch=2)[0].requested_at_ms is None

    def test_a_run_whose_start_was_never_told_is_shown(self, ledger: Ledger) -> None:
        ledger.book([story.event("finished", fields={"result": "failed", "outcome": "no JSON"})])
        (run,) = queries.runs(ledger, INSTANCE)
        assert (run.started_at_ms, run.finished_at_ms, run.outcome) == (0, T0, "failed")

    def test_queries_select(self, ledger: Ledger) -> None:
        ledger.book(story.life())
        ledger.book([story.order("4", at_ms=T0 + 99, epoch=2)])
        assert _ids(queries.orders(ledger, INSTANCE)) == ["4", "3", "2", "1"]
        assert _ids(queries.orders(ledger, INSTANCE, limit=1)) == ["4"]
        assert _ids(queries.orders(ledger, INSTANCE, epoch=2)) == ["4"]
        assert _ids(queries.orders(ledger, INSTANCE, since_ms=T0 + 50)) == ["4", "3"]
        assert _ids(queries.orders(ledger, INSTANCE, open_only=True)) == ["4"]
        assert _ids(queries.open_orders(ledger, ACCOUNT)) == ["4"]
        assert queries.open_orders(ledger, "backpack:other") == ()
        found = queries.fills(ledger, INSTANCE, since_ms=T0 + 20, limit=2)
        assert [record.trade_id for record in found] == ["11", "10"]
        assert queries.newest_fill_ms(ledger, ACCOUNT, SYMBOL) == T0 + 31
        assert queries.newest_fill_ms(ledger, ACCOUNT, "BTC_USDC") is None
        states = queries.order_states(ledger, ACCOUNT, SYMBOL, "2")
        assert [state.status.value for state in states] == ["new", "cancelled", "cancelled", "new"]

    def test_events_follow_a_place_in_the_stream(self, ledger: Ledger) -> None:
        ledger.book(story.life())
        newest = queries.events(ledger, INSTANCE, limit=2)
        assert [record.stream_id for record in newest] == [f"{T0 + 100}-0", f"{T0 + 150}-0"]
        after = queries.events(ledger, INSTANCE, after_stream_id=f"{T0 + 61}-0", limit=2)
        assert [record.event for record in after] == ["cleanup_claimed", "finished"]
        assert after[0].fields == {"by": "worker"}
        with pytest.raises(ValueError, match="no place"):
            queries.events(ledger, INSTANCE, after_stream_id="yesterday")


def _ids(records: Sequence[queries.OrderRecord]) -> list[str]:
    return [record.order_id for record in records]
