"""A book kept from changes equals the truth or says that it needs a snapshot."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.base import DepthSnapshot
from exchanges.local_book import CLOCK_SLACK_MS, LocalBook
from exchanges.stream import BookChange
from market.book import BookLevel, OrderBook

SYMBOL = "SOL_USDC"
Prices = dict[Decimal, Decimal]


def level(price: str, quantity: str) -> BookLevel:
    return BookLevel(price=Decimal(price), quantity=Decimal(quantity))


def change(
    first: int,
    last: int | None = None,
    *,
    bids: tuple[BookLevel, ...] = (),
    asks: tuple[BookLevel, ...] = (),
    at_ms: int | None = None,
) -> BookChange:
    return BookChange(
        symbol=SYMBOL,
        first_update_id=first,
        last_update_id=first if last is None else last,
        bids=bids,
        asks=asks,
        at_ms=first if at_ms is None else at_ms,
    )


def snapshot(
    last_update_id: int,
    *,
    bids: tuple[BookLevel, ...] = (),
    asks: tuple[BookLevel, ...] = (),
    max_levels: int | None = None,
) -> DepthSnapshot:
    book = OrderBook(symbol=SYMBOL, bids=bids, asks=asks, updated_at_ms=last_update_id)
    return DepthSnapshot(book=book, last_update_id=last_update_id, max_levels=max_levels)


@pytest.fixture
def book() -> LocalBook:
    return LocalBook(SYMBOL)


def test_there_is_no_book_before_a_snapshot(book: LocalBook) -> None:
    book.apply(change(1))
    assert book.needs_snapshot
    assert book.book(10) is None


def test_changes_that_wait_join_the_snapshot(book: LocalBook) -> None:
    book.apply(change(3, 4, bids=(level("99", "7"),)))
    book.apply(change(5, 7, bids=(level("98", "1"), level("99", "2")), asks=(level("102", "4"),)))
    book.apply(change(8, asks=(level("101", "0.000"),)))
    book.load(
        snapshot(
            6,
            bids=(level("99", "5"), level("97", "3")),
            asks=(level("101", "1"), level("103", "1")),
        )
    )
    assert not book.needs_snapshot
    assert book.book(2) == OrderBook(
        symbol=SYMBOL,
        bids=(level("99", "2"), level("98", "1")),
        asks=(level("102", "4"), level("103", "1")),
        updated_at_ms=8,
    )


def test_a_snapshot_older_than_what_waits_is_not_taken(book: LocalBook) -> None:
    book.apply(change(5))
    book.load(snapshot(3))
    assert book.needs_snapshot
    book.load(snapshot(4))
    assert not book.needs_snapshot


def test_the_first_change_after_a_snapshot_may_reach_back(book: LocalBook) -> None:
    book.load(snapshot(6))
    book.apply(change(4, 9))
    assert not book.needs_snapshot
    # Later ones may not.
    book.apply(change(9, 10))
    assert book.needs_snapshot


@pytest.mark.parametrize(("first", "last"), [(8, 8), (9, 12)])
def test_a_gap_takes_the_book_away_until_a_newer_snapshot(book: LocalBook, first: int, last: int) -> None:
    book.load(snapshot(6, bids=(level("99", "5"),)))
    book.apply(change(first, last))
    assert book.needs_snapshot
    assert book.book(10) is None
    book.load(snapshot(first - 2))
    assert book.needs_snapshot
    book.load(snapshot(first - 1, bids=(level("98", "5"),)))
    assert book.book(10) == OrderBook(symbol=SYMBOL, bids=(level("98", "5"),), asks=(), updated_at_ms=first)


def test_duplicates_are_passed_over(book: LocalBook) -> None:
    book.load(snapshot(6))
    deeper = change(7, bids=(level("99", "1"),))
    book.apply(deeper)
    book.apply(change(8, bids=(level("99", "2"),)))
    book.apply(deeper)
    assert not book.needs_snapshot
    current = book.book(1)
    assert current is not None
    assert current.bids == (level("99", "2"),)


def test_numbers_that_begin_anew_are_no_duplicates(book: LocalBook) -> None:
    book.load(snapshot(1_000))
    book.apply(change(1_001, at_ms=2_000))
    book.apply(change(1, at_ms=3_000))
    assert book.needs_snapshot
    book.load(snapshot(0))
    assert not book.needs_snapshot


def test_numbers_that_begin_anew_while_changes_wait_leave_the_old_ones_behind(book: LocalBook) -> None:
    book.apply(change(1_000, at_ms=2_000))
    book.apply(change(1, at_ms=3_000, bids=(level("99", "1"),)))
    book.load(snapshot(0))
    current = book.book(1)
    assert current is not None
    assert current.bids == (level("99", "1"),)


def test_numbers_that_begin_anew_right_after_a_snapshot_are_seen_before_long(book: LocalBook) -> None:
    book.load(snapshot(1_000))
    book.apply(change(1, at_ms=1_000 + CLOCK_SLACK_MS))
    assert not book.needs_snapshot
    book.apply(change(2, at_ms=1_001 + CLOCK_SLACK_MS))
    assert book.needs_snapshot


def test_a_snapshot_that_comes_too_late_changes_nothing(book: LocalBook) -> None:
    book.load(snapshot(6))
    book.apply(change(7, bids=(level("99", "1"),)))
    book.load(snapshot(7))
    current = book.book(1)
    assert current is not None
    assert current.bids == (level("99", "1"),)


def test_a_newer_snapshot_replaces_the_book(book: LocalBook) -> None:
    book.load(snapshot(6, bids=(level("99", "1"),)))
    book.load(snapshot(9, bids=(level("98", "1"),)))
    current = book.book(1)
    assert current is not None
    assert current.bids == (level("98", "1"),)


def test_a_price_is_the_same_with_and_without_zeros(book: LocalBook) -> None:
    book.load(snapshot(6, bids=(level("99.10", "1"),)))
    book.apply(change(7, bids=(level("99.1", "0"),)))
    current = book.book(1)
    assert current is not None
    assert current.bids == ()


def test_what_lies_beyond_a_cut_snapshot_is_not_made_up(book: LocalBook) -> None:
    asks = tuple(level(str(101 + number), "1") for number in range(20))
    book.load(snapshot(6, bids=(level("99", "1"),), asks=asks, max_levels=20))
    # Behind the cut: there may be others between it and the last level that is known.
    book.apply(change(7, asks=(level("500", "1"),), bids=(level("1", "1"),)))
    current = book.book(1000)
    assert current is not None
    assert current.asks == asks
    # The bids were not cut.
    assert current.bids == (level("99", "1"), level("1", "1"))


def test_a_cut_book_that_is_used_up_needs_a_snapshot(book: LocalBook) -> None:
    asks = tuple(level(str(101 + number), "1") for number in range(20))
    book.load(snapshot(6, asks=asks, max_levels=20))
    for number in range(17):
        book.apply(change(7 + number, asks=(level(str(101 + number), "0"),)))
    assert book.book(1) is not None
    book.apply(change(24, asks=(level("118", "0"),)))
    assert book.needs_snapshot
    # What comes next waits for the snapshot.
    book.apply(change(25, asks=(level("119", "3"),)))
    book.load(snapshot(24, asks=(level("119", "1"), level("120", "1")), max_levels=20))
    current = book.book(1)
    assert current is not None
    assert current.asks == (level("119", "3"),)


class Truth:
    """A book at the exchange that changes at random and remembers every state."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.bids: Prices = {}
        self.asks: Prices = {}
        self.last_update_id = 100
        #: By update id.
        self.states: dict[int, tuple[Prices, Prices]] = {}
        self._keep()

    def evolve(self) -> BookChange:
        first = self.last_update_id + 1
        self.last_update_id += self._random.randint(1, 3)
        sides: list[tuple[BookLevel, ...]] = []
        for side, base in ((self.bids, 90), (self.asks, 100)):
            touched: Prices = {}
            for _ in range(self._random.randint(0, 3)):
                quantity = Decimal(self._random.choice([0, 0, 1, 2, 3]))
                touched[Decimal(base + self._random.randint(0, 9))] = quantity
            for price, quantity in touched.items():
                side.pop(price, None)
                if quantity:
                    side[price] = quantity
            sides.append(tuple(BookLevel(price=price, quantity=found) for price, found in touched.items()))
        self._keep()
        return change(first, self.last_update_id, bids=sides[0], asks=sides[1], at_ms=self.last_update_id)

    def snapshot(self, max_levels: int | None) -> DepthSnapshot:
        bids, asks = self.sides(self.last_update_id)
        return snapshot(
            self.last_update_id, bids=bids[:max_levels], asks=asks[:max_levels], max_levels=max_levels
        )

    def sides(self, update_id: int) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
        bids, asks = self.states[update_id]
        return _levels(bids, best_is_highest=True), _levels(asks, best_is_highest=False)

    def _keep(self) -> None:
        self.states[self.last_update_id] = (dict(self.bids), dict(self.asks))


def _levels(side: Prices, *, best_is_highest: bool) -> tuple[BookLevel, ...]:
    ordered = sorted(side.items(), reverse=best_is_highest)
    return tuple(BookLevel(price=price, quantity=quantity) for price, quantity in ordered)


# What happens to each change on its way: most arrive, some are lost, doubled, or come after the next one.
FATES = st.sampled_from(["arrives"] * 8 + ["lost", "doubled", "late", "repeated later"])
STEPS = st.lists(st.tuples(FATES, st.booleans()), min_size=1, max_size=60)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=STEPS,
    max_levels=st.sampled_from([None, 3, 20]),
    lag=st.integers(0, 3),
)
def test_it_is_never_silently_wrong(
    seed: int, steps: list[tuple[str, bool]], max_levels: int | None, lag: int
) -> None:
    truth, book = Truth(seed), LocalBook(SYMBOL)
    snapshots = [truth.snapshot(max_levels)]
    late: list[BookChange] = []
    old: list[BookChange] = []
    expected_id = 0
    for fate, wants_snapshot in steps:
        made = truth.evolve()
        snapshots.append(truth.snapshot(max_levels))
        arrivals = {"lost": [], "doubled": [made, made], "late": []}.get(fate, [made])
        if fate == "repeated later" and old:
            arrivals = [made, old[seed % len(old)]]
        for arrival in [*arrivals, *late]:
            book.apply(arrival)
            expected_id = max(expected_id, arrival.last_update_id)
        late = [made] if fate == "late" else []
        old.append(made)
        if book.needs_snapshot and wants_snapshot:
            # An answer that was on its way while changes came in.
            given_snapshot = snapshots[max(0, len(snapshots) - 1 - lag)]
            book.load(given_snapshot)
            expected_id = max(expected_id, given_snapshot.last_update_id)
        current = book.book(1_000)
        assert (current is None) == book.needs_snapshot
        if current is not None:
            bids, asks = truth.sides(expected_id)
            # Up to where the snapshot reached.
            assert current.bids == bids[: len(current.bids)]
            assert current.asks == asks[: len(current.asks)]
            if max_levels is None:
                assert (current.bids, current.asks) == (bids, asks)
            else:
                assert len(bids) == len(current.bids) or current.bids
                assert len(asks) == len(current.asks) or current.asks


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 80), lag=st.integers(0, 5))
def test_without_loss_it_is_there_from_the_first_fitting_snapshot_on(seed: int, count: int, lag: int) -> None:
    truth, book = Truth(seed), LocalBook(SYMBOL)
    snapshots = [truth.snapshot(None)]
    for _ in range(count):
        book.apply(truth.evolve())
        snapshots.append(truth.snapshot(None))
    book.load(snapshots[max(0, len(snapshots) - 1 - lag)])
    for _ in range(count):
        book.apply(truth.evolve())
        current = book.book(1_000)
        assert current is not None
        assert (current.bids, current.asks) == truth.sides(truth.last_update_id)
