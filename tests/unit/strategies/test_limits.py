"""Limits cut quotes, and say what they cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest
from pydantic import ValidationError

from market.net_range import NetRange
from market.orders import Quote, Role
from market.snapshot import Snapshot
from strategies.limits import Cut, Limits, trim, trim_rate
from tests.unit.strategies.limit_values import BUY, SELL, ask, bid, perp, spot, taker
from tests.unit.strategies.market_values import NOW_MS, book

CLOSE = Role.CLOSE


def sizes(quotes: Sequence[Quote]) -> list[str]:
    """Return side and quantity of each, for example ``buy 1``."""
    return [f"{quote.side} {quote.quantity.normalize():f}" for quote in quotes]


def test_without_limits_nothing_is_cut() -> None:
    wanted = (bid("149"), bid("1", "1000000", level=1), ask("9999", role=CLOSE))
    assert trim(wanted, spot("-50"), Limits()) == (wanted, ())


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate({"max_open_order": 3})


@pytest.mark.parametrize("market", [spot, perp])
@pytest.mark.parametrize(
    ("net", "quotes", "expected"),
    [
        pytest.param("0", [bid(quantity="2"), ask(quantity="3")], ["buy 2", "sell 3"], id="at the cap"),
        pytest.param("0", [bid(quantity="4"), ask(quantity="4")], ["buy 3", "sell 3"], id="beyond it"),
        pytest.param("1", [bid(quantity="4"), ask(quantity="5")], ["buy 2", "sell 4"], id="long"),
        pytest.param("-1", [bid(quantity="5"), ask(quantity="4")], ["buy 4", "sell 2"], id="short"),
        pytest.param("3", [bid(), ask(quantity="3")], ["sell 3"], id="long at the cap"),
        pytest.param("5", [bid(), ask(quantity="9")], ["sell 8"], id="long beyond the cap"),
        pytest.param("-5", [bid(quantity="5"), ask()], ["buy 5"], id="short beyond the cap"),
        pytest.param("2.995", [bid(), ask()], ["sell 1"], id="room for less than the minimum"),
    ],
)
def test_the_resting_quantity_of_a_side_counts_towards_the_position(
    market: Callable[[str], Snapshot], net: str, quotes: list[Quote], expected: list[str]
) -> None:
    kept, cuts = trim(quotes, market(net), Limits(max_position=D(3)))
    assert sizes(kept) == expected
    assert {cut.limit for cut in cuts} <= {"max_position"}


def test_the_innermost_quote_keeps_its_size_whatever_the_levels_say() -> None:
    # A grid counts its levels from below: the lowest one is the farthest bid.
    wanted = [bid("147", level=0), bid("148", level=1), bid("149", level=2)]
    kept, cuts = trim(wanted, perp(), Limits(max_position=D("1.5")))
    assert kept == (replace(wanted[1], quantity=D("0.5")), wanted[2])
    assert [(cut.level, cut.wanted, cut.allowed) for cut in cuts] == [(0, D(1), D(0)), (1, D(1), D("0.5"))]


def test_exits_are_served_before_quotes_nearer_to_the_price() -> None:
    wanted = [ask("151"), ask("160", role=CLOSE)]
    kept, _ = trim(wanted, perp(), Limits(max_position=D(1)))
    assert kept == (wanted[1],)


@pytest.mark.parametrize(
    ("own_cap", "blamed"), [("0.5", "position_cap"), ("2", "max_position"), (None, "max_position")]
)
def test_of_two_position_caps_the_smaller_counts(own_cap: str | None, blamed: str) -> None:
    cap = None if own_cap is None else D(own_cap)
    kept, cuts = trim([bid(quantity="9")], perp(), Limits(max_position=D(1)), position_cap=cap)
    assert kept[0].quantity == min(D(1), cap or D(1))
    assert [cut.limit for cut in cuts] == [blamed]


def test_a_strategys_own_cap_counts_without_limits() -> None:
    kept, _ = trim([bid(quantity="9")], perp(), Limits(), position_cap=D(2))
    assert sizes(kept) == ["buy 2"]


def test_a_position_that_nobody_knows_does_not_grow() -> None:
    assert trim([bid(), ask()], perp(None), Limits(max_position=D(9)))[0] == ()


@pytest.mark.parametrize("limits", [Limits(max_position=D(9)), Limits(min_balance=D(100))])
def test_exits_of_a_position_that_nobody_knows_are_whole(limits: Limits) -> None:
    exits = (replace(ask(), reduce_only=True), ask("152", role=CLOSE), bid("148", role=CLOSE))
    assert trim([*exits, bid(), ask("153")], perp(None, usdc="1"), limits)[0] == exits


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param("0", "2", ["buy 1", "sell 3"], id="a purchase that the position lacks"),
        pytest.param("-2", "0", ["buy 3", "sell 1"], id="a sale that the position lacks"),
        pytest.param("-1", "2", ["buy 1", "sell 2"], id="one of each"),
        pytest.param("2", "4", ["sell 5"], id="beyond the cap already"),
    ],
)
def test_room_is_counted_from_the_worst_that_the_position_may_be(
    low: str, high: str, expected: list[str]
) -> None:
    lagging = replace(perp(), net_bounds=NetRange(low=D(low), high=D(high)))
    assert sizes(trim([bid(quantity="9"), ask(quantity="9")], lagging, Limits(max_position=D(3)))[0]) == (
        expected
    )


def test_only_what_is_held_for_certain_lets_an_order_pass_the_cap_unless_it_only_reduces() -> None:
    lagging = replace(perp(), net_bounds=NetRange(low=D(0), high=D(8)))
    wanted = ask(quantity="9", role=CLOSE)
    limits = Limits(max_position=D(3))
    assert sizes(trim([wanted], lagging, limits)[0]) == ["sell 3"]
    assert sizes(trim([replace(wanted, reduce_only=True)], lagging, limits)[0]) == ["sell 8"]


def test_an_order_that_only_reduces_takes_no_position_away_that_others_count_on() -> None:
    # Short by 5 or by 9. Were it 5 and the reducing bid filled first, the other would end long by 5.
    lagging = replace(perp(), net_bounds=NetRange(low=D(-9), high=D(-5)))
    wanted = [bid("149", "5"), replace(bid("148", "4"), reduce_only=True)]
    assert sizes(trim(wanted, lagging, Limits(max_position=D(3)))[0]) == ["buy 5", "buy 3"]
    assert sizes(trim(wanted, lagging, Limits(max_position=D(5)))[0]) == ["buy 5", "buy 4"]


def test_what_a_taker_reduces_is_left_to_it() -> None:
    # Both whole would end at -8: the taker's five and eight more.
    kept, _ = trim([ask(quantity="8")], perp("5"), Limits(max_position=D(3)), taker=taker(SELL, "5"))
    assert sizes(kept) == ["sell 3"]


def test_too_large_an_order_is_reduced_to_a_step() -> None:
    wanted = bid("149", "5", level=3)
    kept, cuts = trim([wanted], spot(), Limits(max_order_notional=D(100)))
    assert kept == (replace(wanted, quantity=D("0.67")),)
    assert cuts == (
        Cut(limit="max_order_notional", side=BUY, level=3, price=D(149), wanted=D(5), allowed=D("0.67")),
    )


def test_an_order_reduced_below_the_minimum_is_removed() -> None:
    kept, cuts = trim([bid(quantity="5")], spot(min_quantity="1"), Limits(max_order_notional=D(100)))
    assert kept == ()
    assert [cut.allowed for cut in cuts] == [0]


def test_what_brings_the_position_to_zero_may_be_worth_more() -> None:
    wanted = [ask("151", "2"), ask("152", "2"), bid(quantity="2")]
    kept, _ = trim(wanted, perp("3"), Limits(max_order_notional=D(100)))
    # The nearer one reduces as a whole, the farther one with half of it.
    assert sizes(kept) == ["sell 2", "sell 1", "buy 0.67"]


def test_an_exit_stays_whole_although_it_is_worth_more() -> None:
    wanted = (ask("151", "2", role=CLOSE), bid(quantity="2", role=CLOSE))
    assert trim(wanted, perp(), Limits(max_order_notional=D(100))) == (wanted, ())


@pytest.mark.parametrize(("price", "is_kept"), [("148.50", True), ("148.49", False), ("151.51", False)])
@pytest.mark.parametrize("role", [Role.QUOTE, CLOSE])
def test_a_quote_outside_the_band_around_the_price_is_removed(price: str, is_kept: bool, role: Role) -> None:
    kept, cuts = trim([bid(price, role=role)], spot("-9"), Limits(price_band_bps=D(100)))
    assert bool(kept) is is_kept
    assert [cut.limit for cut in cuts] == ([] if is_kept else ["price_band_bps"])


def test_the_band_is_around_the_mark_where_there_is_one() -> None:
    marked = perp(mark="100")
    assert trim([bid("100")], marked, Limits(price_band_bps=D(100)))[0]
    assert not trim([bid("149")], marked, Limits(price_band_bps=D(100)))[0]


def test_without_a_price_nothing_is_inside_the_band() -> None:
    blind = spot(order_book=book(None, "150"))
    assert trim([bid()], blind, Limits(price_band_bps=D(100)))[0] == ()


def test_a_removed_quote_takes_no_room() -> None:
    wanted = [bid("200"), bid("149")]
    kept, _ = trim(wanted, perp(), Limits(max_position=D(1), price_band_bps=D(100)))
    assert kept == (wanted[1],)


def test_too_many_orders_lose_the_outermost_of_both_sides() -> None:
    wanted = [bid("148", level=1), bid("149"), ask("151"), ask("152", level=1)]
    kept, cuts = trim(wanted, spot(), Limits(max_open_orders=2))
    assert kept == (wanted[1], wanted[2])
    assert [(cut.limit, cut.price) for cut in cuts] == [
        ("max_open_orders", D(148)),
        ("max_open_orders", D(152)),
    ]


def test_a_quote_without_room_takes_no_place_among_the_open_orders() -> None:
    wanted = [bid("149"), ask("151"), ask("152", level=1)]
    assert trim(wanted, perp("3"), Limits(max_position=D(3), max_open_orders=2))[0] == (wanted[1], wanted[2])


def test_a_quote_is_cut_by_one_limit_only() -> None:
    wanted = [bid("149"), bid("100", "9", level=1)]
    _, cuts = trim(wanted, perp(), Limits(max_open_orders=1, price_band_bps=D(100), max_position=D(9)))
    assert [cut.limit for cut in cuts] == ["price_band_bps"]


def test_without_any_price_the_highest_bid_and_the_lowest_ask_come_first() -> None:
    wanted = [bid("148"), bid("149"), ask("151"), ask("152")]
    blind = spot(order_book=book(None, None))
    assert trim(wanted, blind, Limits(max_open_orders=2))[0] == (wanted[1], wanted[2])


@pytest.mark.parametrize(
    ("cash", "expected"),
    [
        ("249", ["buy 1", "sell 1"]),
        ("248.99", ["buy 0.99", "sell 1"]),
        ("100", ["sell 1"]),
        (None, ["sell 1"]),
    ],
)
def test_bids_on_spot_leave_the_minimum_balance_alone(cash: str | None, expected: list[str]) -> None:
    # Also those that reduce: they spend all the same.
    kept, cuts = trim([bid("149"), ask()], spot("-9", quote=cash), Limits(min_balance=D(100)))
    assert sizes(kept) == expected
    assert {cut.limit for cut in cuts} <= {"min_balance"}


def test_bids_share_what_is_above_the_minimum_balance() -> None:
    kept, _ = trim([bid("148"), bid("149")], spot(quote="300"), Limits(min_balance=D(100)))
    assert sizes(kept) == ["buy 0.34", "buy 1"]


@pytest.mark.parametrize(
    ("usdc", "expected"),
    [
        ("100.01", ["buy 4", "sell 4"]),
        ("100", ["sell 3"]),
        pytest.param(None, ["sell 3"], id="balance unknown"),
    ],
)
def test_on_perpetuals_a_low_balance_leaves_what_reduces(usdc: str | None, expected: list[str]) -> None:
    wanted = [bid(quantity="4"), ask(quantity="4", role=CLOSE)]
    kept, _ = trim(wanted, perp("3", usdc=usdc), Limits(min_balance=D(100)))
    assert sizes(kept) == expected


def test_an_old_book_withdraws_every_quote_with_one_cut() -> None:
    late = replace(spot("5"), taken_at_ms=NOW_MS + 2_501)
    limits = Limits(max_data_age_s=D("2.5"))
    kept, cuts = trim([bid(), ask(role=CLOSE)], late, limits)
    assert kept == ()
    assert [(cut.limit, cut.side, cut.wanted, cut.allowed) for cut in cuts] == [
        ("max_data_age_s", None, D(2), D(0))
    ]
    assert trim([], late, limits) == ((), ())


@pytest.mark.parametrize("age_ms", [2_500, 0, -60_000])
def test_a_book_that_is_young_enough_cuts_nothing(age_ms: int) -> None:
    young = replace(spot(), taken_at_ms=NOW_MS + age_ms)
    assert trim([bid()], young, Limits(max_data_age_s=D("2.5")))[1] == ()


@pytest.mark.parametrize(
    ("earlier_s", "expected"),
    [
        pytest.param([], ["149", "151", "160"], id="all"),
        pytest.param([1, 59], ["160"], id="exit first"),
        pytest.param([1, -1], ["160"], id="a clock that was set back a little"),
        pytest.param([1], ["149", "160"], id="then the nearest"),
        pytest.param([1, 2, 3, 4], [], id="more than allowed already"),
        pytest.param([60, 61, -3600], ["149", "151", "160"], id="all of them long ago"),
    ],
)
def test_orders_per_minute_hold_back_placements(earlier_s: list[int], expected: list[str]) -> None:
    places = [bid("149", level=7), ask("151.10"), ask("160", role=CLOSE, level=9)]
    earlier_ms = [NOW_MS - age_s * 1000 for age_s in earlier_s]
    kept, cuts = trim_rate(places, earlier_ms, NOW_MS, Limits(max_orders_per_minute=3), price=D(150))
    assert [str(quote.price).removesuffix(".10") for quote in kept] == expected
    assert [cut.limit for cut in cuts] == ["max_orders_per_minute"] * (3 - len(expected))


def test_without_a_limit_on_the_rate_everything_is_placed() -> None:
    places = (bid(), ask())
    assert trim_rate(places, [NOW_MS] * 1000, NOW_MS, Limits()) == (places, ())


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (
            Cut(
                limit="max_position",
                side=BUY,
                level=3,
                price=D("149.20"),
                wanted=D("0.50"),
                allowed=D("0.20"),
            ),
            "max_position cut buy 0.50 @ 149.20 (level 3) to 0.20",
        ),
        (
            Cut(limit="price_band_bps", side=SELL, level=0, price=D("1E+3"), wanted=D("0.50")),
            "price_band_bps removed sell 0.50 @ 1000 (level 0)",
        ),
        (
            Cut(limit="position_cap", side=SELL, price=D("149.20"), wanted=D(2), allowed=D(1)),
            "position_cap cut sell 2 @ 149.20 (taker) to 1",
        ),
        (
            Cut(limit="max_data_age_s", wanted=D(2), detail="the book is 3.2 s old, 2.5 s are allowed"),
            "max_data_age_s removed every quote: the book is 3.2 s old, 2.5 s are allowed",
        ),
    ],
)
def test_a_cut_says_which_limit_and_by_how_much(cut: Cut, sentence: str) -> None:
    assert cut.sentence() == sentence
