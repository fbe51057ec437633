"""When a move of the price wakes an instance."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from feed.moves import Moves
from feed.watched import WakeOnMove, WatchedInstance
from market.book import BookLevel, OrderBook
from tests.factories import SYMBOL
from tests.unit.feed.feed_bench import watched

EAGER = replace(watched().instances[0], wake_on_move=WakeOnMove(move_bps=Decimal(10), spacing_s=1.0))


def book(mid: str, symbol: str = SYMBOL) -> OrderBook:
    half = Decimal("0.01")
    bids, asks = (
        (BookLevel(price=price, quantity=Decimal(1)),) for price in (Decimal(mid) - half, Decimal(mid) + half)
    )
    return OrderBook(symbol=symbol, bids=bids, asks=asks, updated_at_ms=0)


def followed(*instances: WatchedInstance) -> Moves:
    """Return what follows them, from a middle of 100."""
    moves = Moves()
    moves.watch(instances or (EAGER,))
    moves.seen([book("100")])
    assert moves.due(50.0) == ()
    return moves


def test_a_move_beyond_what_was_asked_for_wakes_once() -> None:
    moves = followed()
    moves.seen([book("100.1")])
    assert moves.due(51.0) == ()
    moves.seen([book("100.11")])
    assert moves.due(51.1) == ("mm_01",)
    assert moves.due(60.0) == ()


def test_a_fall_counts_as_a_rise_does() -> None:
    moves = followed()
    moves.seen([book("99.89")])
    assert moves.due(51.0) == ("mm_01",)


def test_steps_that_are_small_add_up() -> None:
    moves = followed()
    woken = []
    for step in range(1, 31):
        moves.seen([book(str(100 + Decimal("0.05") * step))])
        woken.append(moves.due(50.0 + 2 * step))
    assert sum(bool(names) for names in woken) == 10


def test_wake_ups_keep_their_distance_and_what_waits_is_not_forgotten() -> None:
    moves = followed()
    moves.seen([book("101")])
    assert moves.due(51.0) == ("mm_01",)
    moves.seen([book("102")])
    assert moves.due(51.9) == ()
    # No further book comes.
    assert moves.due(52.0) == ("mm_01",)


def test_who_did_not_ask_or_does_not_run_is_left_alone() -> None:
    moves = followed(replace(EAGER, wake_on_move=None), replace(EAGER, is_running=False))
    moves.seen([book("150")])
    assert moves.due(51.0) == ()


def test_a_symbol_moves_its_own_instances_only() -> None:
    moves = followed(EAGER, replace(EAGER, instance_id="other", symbol="ETH_USDC"))
    moves.seen([book("2700", "ETH_USDC")])
    assert moves.due(50.5) == ()
    moves.seen([book("2800", "ETH_USDC")])
    assert moves.due(51.0) == ("other",)


def test_a_book_with_one_side_says_nothing_and_takes_nothing_back() -> None:
    moves = followed()
    moves.seen([replace(book("150"), asks=())])
    assert moves.due(51.0) == ()
    moves.seen([book("101")])
    moves.seen([replace(book("150"), asks=())])
    assert moves.due(52.0) == ("mm_01",)


def test_one_that_is_followed_anew_begins_where_the_price_is_then() -> None:
    moves = followed()
    moves.watch([replace(EAGER, is_running=False)])
    moves.watch([EAGER])
    moves.seen([book("150")])
    assert moves.due(51.0) == ()
    moves.seen([book("151")])
    assert moves.due(52.0) == ("mm_01",)
