"""Hanging orders: the other half of a filled pair stays where it is."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from market.orders import OrderStatus, Quote, Role, Side
from market.snapshot import OwnOrder, Snapshot
from strategies import maker_rules
from strategies.hanging import Pairs, Watched, around, observe, quotes
from strategies.maker_rules import MakerState, remember
from tests.unit.strategies.maker_values import at, fill, maker_params
from tests.unit.strategies.market_values import NOW_MS, own_order

BID, ASK = Side.BUY, Side.SELL
QUOTE = int(Role.QUOTE)


def pair(
    level: int = 0, *, bid: str = "149.85", ask: str = "150.15", quantity: str = "0.20"
) -> tuple[OwnOrder, OwnOrder]:
    return (
        own_order(BID, bid, quantity, level=level, order_id=f"bid{level}"),
        own_order(ASK, ask, quantity, level=level, order_id=f"ask{level}"),
    )


def seen(*snapshots: Snapshot, percent: str = "10") -> Pairs:
    pairs = Pairs()
    for each in snapshots:
        pairs = observe(each, pairs, cancel_percent=D(percent))
    return pairs


class TestHangingOrders:
    BID0, ASK0 = pair(0)
    BID1, ASK1 = pair(1, bid="149.83", ask="150.17")
    ALL = (BID0, BID1, ASK0, ASK1)

    def test_the_other_order_of_a_filled_pair_hangs(self) -> None:
        after = at(1, open_orders=[self.BID1, self.ASK0, self.ASK1], fills=[fill("bid0", BID)])
        assert seen(at(open_orders=self.ALL), after).hanging == ("ask0",)

    def test_a_partly_filled_order_makes_nothing_hang(self) -> None:
        half = own_order(BID, "149.85", "0.20", executed="0.10", order_id="bid0")
        after = at(1, open_orders=[half, *self.ALL[1:]], fills=[fill("bid0", BID, "0.10")])
        assert seen(at(open_orders=self.ALL), after).hanging == ()

    def test_parts_add_up_over_decisions(self) -> None:
        first = at(1, open_orders=self.ALL, fills=[fill("bid0", BID, "0.10")])
        second = at(2, open_orders=self.ALL[1:], fills=[fill("bid0", BID, "0.10")])
        assert seen(at(open_orders=self.ALL), first, second).hanging == ("ask0",)

    def test_a_cancelled_order_makes_nothing_hang(self) -> None:
        part = at(1, open_orders=self.ALL, fills=[fill("bid0", BID, "0.10")])
        gone = at(2, open_orders=self.ALL[1:])
        pairs = seen(at(open_orders=self.ALL), part, gone)
        assert pairs.hanging == ()
        assert "bid0" not in {entry.order_id for entry in pairs.watched}

    def test_a_list_that_still_shows_the_filled_order_changes_nothing(self) -> None:
        late = at(1, open_orders=self.ALL, fills=[fill("bid0", BID)])
        gone = at(2, open_orders=self.ALL[1:])
        assert seen(at(open_orders=self.ALL), late).hanging == ("ask0",)
        assert seen(at(open_orders=self.ALL), late, gone).hanging == ("ask0",)

    def test_fills_that_come_after_the_order_is_gone_count(self) -> None:
        gone = at(1, open_orders=self.ALL[1:], unsettled=[(0, QUOTE)])
        late = at(2, open_orders=self.ALL[1:], fills=[fill("bid0", BID)])
        assert seen(at(open_orders=self.ALL), gone).hanging == ()
        assert seen(at(open_orders=self.ALL), gone, late).hanging == ("ask0",)

    def test_a_late_fill_of_a_part_of_a_cancelled_order_does_not(self) -> None:
        gone = at(1, open_orders=self.ALL[1:], unsettled=[(0, QUOTE)])
        late = at(2, open_orders=self.ALL[1:], unsettled=[(0, QUOTE)], fills=[fill("bid0", BID, "0.10")])
        assert seen(at(open_orders=self.ALL), gone, late).hanging == ()

    def test_an_order_that_no_list_showed_hangs_the_innermost_unpaired_one(self) -> None:
        after = at(open_orders=[self.BID1, self.ASK1, self.ASK0], fills=[fill("unseen", BID)])
        assert seen(after).hanging == ("ask0",)

    def test_a_level_whose_own_order_still_rests_is_not_the_one_that_was_filled(self) -> None:
        after = at(open_orders=[self.BID0, self.ASK1, self.ASK0], fills=[fill("unseen", BID)])
        assert seen(after).hanging == ("ask1",)

    def test_one_order_hangs_in_a_place(self) -> None:
        twin = own_order(ASK, "150.16", level=0, order_id="twin")
        first = at(1, open_orders=[self.ASK0, twin], fills=[fill("bid0", BID)])
        new_bid = own_order(BID, "149.80", level=0, order_id="bid0-2")
        second = at(2, open_orders=[new_bid, self.ASK0, twin])
        third = at(3, open_orders=[self.ASK0, twin], fills=[fill("bid0-2", BID)])
        assert seen(at(open_orders=[*self.ALL, twin]), first, second, third).hanging == ("ask0",)

    def test_a_rebalance_makes_nothing_hang(self) -> None:
        after = at(1, open_orders=self.ALL[1:], fills=[fill("taker", BID, is_maker=False)])
        assert seen(at(open_orders=self.ALL), after).hanging == ()

    def test_both_filled_leave_nothing_to_hang(self) -> None:
        after = at(1, open_orders=[self.BID1, self.ASK1], fills=[fill("bid0", BID), fill("ask0", ASK)])
        assert seen(at(open_orders=self.ALL), after).hanging == ()

    def test_a_filled_hanging_order_is_forgotten_and_makes_nothing_hang(self) -> None:
        first = at(1, open_orders=[self.ASK0], fills=[fill("bid0", BID)])
        new_bid = own_order(BID, "149.80", level=0, order_id="bid0-2")
        second = at(2, open_orders=[new_bid, self.ASK0])
        third = at(3, open_orders=[new_bid], fills=[fill("ask0", ASK)])
        assert seen(at(open_orders=self.ALL), first, second, third).hanging == ()

    def test_one_that_no_longer_rests_is_forgotten(self) -> None:
        first = at(1, open_orders=[self.ASK0], fills=[fill("bid0", BID)])
        assert seen(at(open_orders=self.ALL), first, at(2)).hanging == ()

    @pytest.mark.parametrize(("mid", "expected"), [("136.50", ("ask0",)), ("136.49", ())])
    def test_one_too_far_from_the_mid_is_given_up(self, mid: str, expected: tuple[str, ...]) -> None:
        first = at(1, open_orders=[self.ASK0], fills=[fill("bid0", BID)])
        far = at(2, open_orders=[self.ASK0], mid=mid)
        assert seen(at(open_orders=self.ALL), first, far).hanging == expected

    @pytest.mark.parametrize(
        ("filled", "side", "left", "mid"),
        [("bid0", BID, "ASK0", "150.20"), ("ask0", ASK, "BID0", "149.80")],
    )
    def test_one_that_the_book_has_passed_is_given_up(
        self, filled: str, side: Side, left: str, mid: str
    ) -> None:
        hung: OwnOrder = getattr(self, left)
        first = at(1, open_orders=[hung], fills=[fill(filled, side)])
        assert seen(at(open_orders=self.ALL), first).hanging == (hung.order.order_id,)
        passed = at(2, open_orders=[hung], mid=mid)
        assert seen(at(open_orders=self.ALL), first, passed).hanging == ()

    @pytest.mark.parametrize(
        ("filled", "side", "left", "mid"),
        [("bid0", BID, "ASK0", "150.17"), ("ask0", ASK, "BID0", "149.83")],
    )
    def test_one_that_stands_alone_before_the_others_stays(
        self, filled: str, side: Side, left: str, mid: str
    ) -> None:
        hung: OwnOrder = getattr(self, left)
        first = at(1, open_orders=[hung], fills=[fill(filled, side)])
        alone = at(2, open_orders=[hung], mid=mid)
        assert seen(at(open_orders=self.ALL), first, alone).hanging == (hung.order.order_id,)

    def test_nothing_is_quoted_that_would_trade_with_it(self) -> None:
        of, state = at(open_orders=[self.ASK0, self.BID0], mid="150.17"), MakerState(hanging=("ask0", "bid0"))
        bids = ((0, D("150.16")), (1, D("150.15")), (2, D("150.14")))
        found = maker_rules.quotes(of, state, maker_params(hanging_orders=True), bids, BID, D("0.2"))
        assert [quote.price for quote in found] == [D("149.85"), D("150.14")]
        asks = ((1, D("149.85")), (2, D("149.86")))
        found = maker_rules.quotes(of, state, maker_params(hanging_orders=True), asks, ASK, D("0.2"))
        assert [quote.price for quote in found] == [D("150.15"), D("149.86")]

    def test_one_that_is_filled_down_to_less_than_an_order_is_given_up(self) -> None:
        rest = own_order(ASK, "150.15", "0.20", executed="0.11", order_id="ask0")
        after = at(1, open_orders=[rest], fills=[fill("bid0", BID)], min_quantity="0.1")
        assert seen(at(open_orders=self.ALL), after).hanging == ()

    def test_a_conditional_order_or_another_role_is_no_quote(self) -> None:
        waiting = own_order(ASK, "150.15", order_id="ask0", status=OrderStatus.TRIGGER_PENDING)
        closing = own_order(ASK, "150.15", order_id="other", role=Role.CLOSE)
        after = at(1, open_orders=[waiting, closing], fills=[fill("bid0", BID)])
        assert seen(at(open_orders=[self.BID0, waiting, closing]), after).hanging == ()

    def test_it_is_quoted_where_it_stands_for_what_is_left_of_it(self) -> None:
        rest = own_order(ASK, "150.15", "0.20", executed="0.05", order_id="ask0", level=2)
        of = at(open_orders=[rest, self.BID0])
        assert quotes(of, ("ask0", "bid0", "gone"), ASK) == (
            Quote(side=ASK, price=D("150.15"), quantity=D("0.15"), level=2),
        )

    def test_it_takes_the_place_of_its_level_and_price(self) -> None:
        hung = Quote(side=ASK, price=D("150.15"), quantity=D("0.1"), level=1)
        wanted = [
            Quote(side=ASK, price=D(price), quantity=D("0.2"), level=level)
            for level, price in enumerate(["150.05", "150.10", "150.15", "150.20"])
        ]
        assert around((hung,), wanted) == (hung, wanted[0], wanted[3])

    def test_a_delayed_side_keeps_its_hanging_orders(self) -> None:
        its = maker_params(filled_order_delay_s=60, hanging_orders=True)
        state = MakerState(hanging=("ask0",), last_sold_at_ms=NOW_MS)
        of = at(open_orders=[self.ASK0, self.ASK1])
        quotes = maker_rules.quotes(of, state, its, ((0, D("150.05")), (1, D("150.07"))), ASK, D("0.2"))
        assert [(quote.level, quote.price) for quote in quotes] == [(0, D("150.15"))]

    def test_switched_off_it_remembers_nothing(self) -> None:
        old = MakerState(
            hanging=("ask0",),
            watched=(Watched(order_id="ask0", side=ASK, level=0, quantity=D(1)),),
        )
        assert remember(at(open_orders=self.ALL), old, maker_params()) == MakerState()
