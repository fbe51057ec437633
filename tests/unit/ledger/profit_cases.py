"""What must hold of profit on every database, against a model that knows balances and nothing of averages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from ledger import schema
from ledger.bookings import Booking, FillBooking, FundingBooking
from ledger.database import Ledger
from ledger.folded_days import extend
from ledger.folding import day_of
from ledger.profit import Figures, Grouping, ProfitRow, profit, totals
from ledger.retention import prune
from market.orders import OrderStatus, Side
from tests.unit.ledger import story
from tests.unit.ledger.story import DAY_MS, PERP, SYMBOL, T0

INSTANCES = ("", "mm_01", "mm_02")
MARKS = {SYMBOL: Decimal("101.5"), PERP: Decimal("99.25")}
#: Averages are quotients, so their last digits are rounded.
TINY = Decimal("1E-40")

amounts = st.decimals(min_value="0.01", max_value="5", places=2)
prices = st.decimals(min_value="90", max_value="110", places=2)
days = st.integers(0, 10 * DAY_MS)
fees = st.decimals(min_value="-0.05", max_value="0.2", places=4)


def tellings() -> st.SearchStrategy[list[Booking]]:
    """Fills on a spot and a perpetual market by several owners over some days, and funding between."""
    return st.lists(st.one_of(_fills(), _fundings()), min_size=1, max_size=25).map(_numbered)


def _fills() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "symbol": st.sampled_from([SYMBOL, PERP]),
            "instance_id": st.sampled_from(INSTANCES),
            "epoch": st.integers(1, 2),
            "side": st.sampled_from(Side),
            "price": prices,
            "quantity": amounts,
            "fee": fees,
            "fee_asset": st.sampled_from(["USDC", "SOL", "BP"]),
            "is_maker": st.booleans(),
            "is_system": st.booleans(),
            "step_ms": st.integers(0, DAY_MS // 2),
        }
    )


def _fundings() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "amount": st.decimals(min_value="-1", max_value="1", places=3),
            "step_ms": st.integers(1, DAY_MS // 2),
        }
    )


def _numbered(drawn: Sequence[dict[str, Any]]) -> list[Booking]:
    told: list[Booking] = []
    now = T0
    for number, values in enumerate(drawn):
        now += values["step_ms"]
        rest = {name: value for name, value in values.items() if name != "step_ms"}
        if "amount" in values:
            told.append(story.funding(str(rest["amount"]), now))
            continue
        if rest["symbol"] == PERP and rest["fee_asset"] == "SOL":
            rest["fee_asset"] = "USDC"
        if rest["is_system"]:
            rest["instance_id"], rest["epoch"] = "", 0
        told.append(story.fill(str(number), order_id=str(number), filled_at_ms=now, **rest))
    return told


def balance_change(told: Sequence[Booking], marks: dict[str, Decimal]) -> Decimal:
    """Return what the account is worth more than before, in quote: coins and contracts at the marks."""
    coins: dict[str, Decimal] = defaultdict(Decimal)
    worth = Decimal(0)
    for booking in told:
        if isinstance(booking, FundingBooking):
            coins["USDC"] += booking.amount
        elif isinstance(booking, FillBooking):
            sign = 1 if booking.side is Side.BUY else -1
            if booking.symbol == PERP:
                # What the contract has gained since: no coins change hands.
                worth += sign * booking.quantity * (marks[PERP] - booking.price)
            else:
                coins["SOL"] += sign * booking.quantity
                coins["USDC"] -= sign * booking.quantity * booking.price
            coins[booking.fee_asset] -= booking.fee
    return worth + coins["USDC"] + coins["SOL"] * marks[SYMBOL]


def paid_in(told: Sequence[Booking], asset: str) -> Decimal:
    return sum((b.fee for b in told if isinstance(b, FillBooking) and b.fee_asset == asset), Decimal(0))


def close(one: Decimal | None, other: Decimal | None) -> bool:
    return one is not None and other is not None and abs(one - other) < TINY


def later_words() -> st.SearchStrategy[list[Booking]]:
    """Owners of orders and starts of runs, which may be told behind their fills."""
    owned = st.builds(
        lambda number, owner, epoch: story.order(
            str(number), OrderStatus.FILLED, instance_id=owner, epoch=epoch, at_ms=T0
        ),
        st.integers(0, 9),
        st.sampled_from(INSTANCES[1:]),
        st.integers(1, 2),
    )
    started = st.builds(
        lambda at_ms, owner, epoch: story.event("started", T0 + at_ms, instance_id=owner, epoch=epoch),
        days,
        st.sampled_from(INSTANCES[1:]),
        st.integers(1, 2),
    )
    return st.lists(st.one_of(owned, started), max_size=9)


def every_profit(ledger: Ledger) -> list[tuple[ProfitRow, ...]]:
    """Return all rows that anybody can ask for."""
    return [profit(ledger, by=by, marks=MARKS, prices={"BP": Decimal(2)}) for by in Grouping]


class ProfitCases:
    #: The ledger is emptied for each.
    examples = 40

    def test_profit_is_what_the_balances_have_gained(self, ledger: Ledger) -> None:
        @settings(max_examples=self.examples, deadline=None)
        @given(told=tellings(), told_in=st.randoms())
        def holds(told: list[Booking], told_in: Any) -> None:
            story.empty(ledger)
            shuffled = list(told)
            told_in.shuffle(shuffled)
            ledger.book(shuffled)
            for by in Grouping:
                figures = _all(profit(ledger, by=by, marks=MARKS))
                with localcontext(prec=60):
                    assert close(figures.total, balance_change(told, MARKS))
                assert figures.unconverted_fees.get("BP", 0) == paid_in(told, "BP")
                assert figures.fees_by_asset.get("SOL", 0) == paid_in(told, "SOL")

        holds()

    def test_retention_changes_no_digit(self, ledger: Ledger) -> None:
        @settings(max_examples=self.examples, deadline=None)
        @given(
            told=tellings(), cuts=st.lists(st.integers(0, 10 * DAY_MS), max_size=3), at_once=st.integers(1, 9)
        )
        def holds(told: list[Booking], cuts: list[int], at_once: int) -> None:
            story.empty(ledger)
            ledger.book(told)
            expected = [profit(ledger, by=by, marks=MARKS, prices={"BP": Decimal(2)}) for by in Grouping]
            for cut in cuts:
                prune(ledger, before_ms=T0 + cut, rows_at_once=at_once)
            # What the exchange lists again must not count twice.
            ledger.book(told)
            found = [profit(ledger, by=by, marks=MARKS, prices={"BP": Decimal(2)}) for by in Grouping]
            assert [_sorted(rows) for rows in found] == [_sorted(rows) for rows in expected]

        holds()

    def test_folded_days_change_no_digit(self, ledger: Ledger) -> None:
        """Whatever comes late, is owned later, is of a run told later, is folded by retention or goes."""

        @settings(max_examples=4 * self.examples, deadline=None)
        @given(
            told=tellings(),
            words=later_words(),
            told_in=st.randoms(),
            edges=st.lists(st.tuples(days, st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
            gone=st.integers(0, 9),
            since_ms=days,
        )
        def holds(
            told: list[Booking],
            words: list[Booking],
            told_in: Any,
            edges: list[tuple[int, int, bool]],
            gone: int,
            since_ms: int,
        ) -> None:
            story.empty(ledger)
            shuffled = [*told, *words[::2]]
            told_in.shuffle(shuffled)
            for number, (edge_ms, at_once, is_folded) in enumerate(edges):
                ledger.book(shuffled[number :: len(edges)])
                # Twice as often as retention, which makes everything behind it come too late.
                if is_folded or number % 2:
                    list(extend(ledger, before_ms=T0 + edge_ms, fills_at_once=at_once))
                else:
                    prune(ledger, before_ms=T0 + edge_ms // 5, rows_at_once=at_once)
            list(extend(ledger, before_ms=T0 + edges[0][0]))
            ledger.book(words[1::2])
            with ledger.writing() as connection:
                connection.execute(delete(schema.fills).where(schema.fills.c.trade_id == str(gone)))
            since_day = day_of(T0 + since_ms)
            since = profit(
                ledger, by=Grouping.DAY, marks=MARKS, prices={"BP": Decimal(2)}, since_day=since_day
            )
            found = every_profit(ledger)
            with ledger.writing() as connection:
                connection.execute(delete(schema.folded_days))
            expected = every_profit(ledger)
            assert found == expected
            assert since == tuple(row for row in expected[-1] if str(row.day) >= since_day)

        holds()

    def test_what_is_told_in_pieces_sums_up_as_told_at_once(self, ledger: Ledger) -> None:
        """Fills that retention has folded, and those that came afterwards."""

        @settings(max_examples=self.examples, deadline=None)
        @given(told=tellings(), place=st.integers(0, 25))
        def holds(told: list[Booking], place: int) -> None:
            story.empty(ledger)
            ledger.book(told)
            expected = profit(ledger, marks=MARKS)
            story.empty(ledger)
            ledger.book(told[:place])
            later = [_time(b) for b in told[place:]]
            prune(ledger, before_ms=min(later, default=T0))
            ledger.book(told[place:])
            assert _sorted(profit(ledger, marks=MARKS)) == _sorted(expected)

        holds()


def _time(booking: Booking) -> int:
    if isinstance(booking, FillBooking):
        return booking.filled_at_ms
    assert isinstance(booking, FundingBooking)
    return booking.interval_end_ms


def _sorted(rows: Sequence[ProfitRow]) -> list[ProfitRow]:
    return sorted(rows, key=lambda r: (r.symbol, r.instance_id, r.epoch or 0, r.day or ""))


def _all(rows: Sequence[ProfitRow]) -> Figures:
    """Return the sum over everything; a market that had only funding names no quote asset."""
    sums = totals(replace(row, quote_asset="USDC") for row in rows)
    return sums["USDC"]
