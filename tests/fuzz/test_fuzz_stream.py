"""Whatever a stream says: an event that makes sense, nothing, or `UnreadableAnswer`; and books stay books."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.backpack import events
from exchanges.backpack.rows import UnreadableAnswer
from exchanges.base import DepthSnapshot
from exchanges.local_book import LocalBook
from exchanges.stream import BookChange
from market.book import BookLevel, OrderBook
from tests.fuzz import wire
from tests.fuzz.fuzzing import fuzz, same_meaning, spoiled, written
from tests.fuzz.sense import assert_makes_sense

MESSAGES = wire.STREAM_MESSAGES


@pytest.mark.parametrize("name", MESSAGES)
@fuzz(60)
@given(data=st.data())
def test_a_message_is_an_event_or_unreadable(name: str, data: st.DataObject) -> None:
    try:
        event = events.event(data.draw(spoiled(MESSAGES[name])))
    except UnreadableAnswer as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
    else:
        assert_makes_sense(event)


@pytest.mark.parametrize("name", MESSAGES)
@fuzz(20)
@given(data=st.data())
def test_the_order_of_keys_and_unknown_fields_change_nothing(name: str, data: st.DataObject) -> None:
    document = MESSAGES[name]
    again = data.draw(same_meaning(document))
    assert events.event(written(again).encode()) == events.event(written(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        # Once taken for a price that attracts everybody, a quantity that is owed, a change that ends before
        # it begins.
        {"s": "X", "U": 1, "u": 2, "T": 1, "a": [["-1", "1"]], "b": []},
        {"s": "X", "U": 1, "u": 2, "T": 1, "a": [["1", "-1"]], "b": []},
        {"s": "X", "U": 2, "u": 1, "T": 1, "a": [], "b": []},
    ],
)
def test_changes_of_books_that_once_came_through(data: object) -> None:
    with pytest.raises(UnreadableAnswer):
        events.event(written({"stream": "depth.X", "data": data}).encode())


prices = st.integers(1, 12).map(Decimal)
levels = st.lists(
    st.builds(BookLevel, price=prices, quantity=st.integers(0, 2).map(Decimal)), max_size=4
).map(tuple)


@st.composite
def snapshots(draw: st.DrawFn) -> DepthSnapshot:
    sides = []
    for reverse in (True, False):
        unique = {level.price: level for level in draw(levels) if level.quantity}
        sides.append(tuple(unique[price] for price in sorted(unique, reverse=reverse)))
    book = OrderBook(symbol="X", bids=sides[0], asks=sides[1], updated_at_ms=draw(st.integers(0, 9)))
    return DepthSnapshot(
        book=book,
        last_update_id=draw(st.integers(0, 20)),
        max_levels=draw(st.sampled_from((None, 1, 3, 50))),
    )


@st.composite
def changes(draw: st.DrawFn) -> BookChange:
    first = draw(st.integers(0, 20))
    return BookChange(
        symbol="X",
        first_update_id=first,
        last_update_id=first + draw(st.integers(0, 3)),
        bids=draw(levels),
        asks=draw(levels),
        at_ms=draw(st.integers(0, 9)),
    )


@fuzz(150)
@given(steps=st.lists(st.one_of(changes(), changes(), snapshots()), max_size=30))
def test_a_book_is_sorted_and_without_empty_levels_after_any_changes(
    steps: list[BookChange | DepthSnapshot],
) -> None:
    book = LocalBook("X")
    for step in steps:
        if isinstance(step, BookChange):
            book.apply(step)
        else:
            book.load(step)
        shown = book.book(5)
        assert (shown is None) == book.needs_snapshot
        if shown is None:
            continue
        for side, is_bid in ((shown.bids, True), (shown.asks, False)):
            found = [level.price for level in side]
            assert found == sorted(set(found), reverse=is_bid)
            assert all(level.quantity > 0 for level in side)
