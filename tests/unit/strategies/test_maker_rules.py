"""The rules that withdraw or hold a market maker's quotes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from market.orders import Role, Side
from strategies import ladder, maker_rules
from strategies.hanging import Watched
from strategies.maker_rules import MakerParams, MakerState, ProfitPeak, remember
from tests.unit.strategies.maker_values import at, fill, maker_params
from tests.unit.strategies.market_values import NOW_MS, book, own_order

BID, ASK = Side.BUY, Side.SELL
QUOTE = int(Role.QUOTE)


class TestFilledOrderDelay:
    def test_a_side_that_was_hit_waits_and_the_other_does_not(self) -> None:
        its = maker_params(filled_order_delay_s="1.5")
        state = remember(at(fills=[fill("1", BID)]), MakerState(), its)
        assert maker_rules.is_delayed(BID, NOW_MS, state, its)
        assert maker_rules.is_delayed(BID, NOW_MS + 1499, state, its)
        assert not maker_rules.is_delayed(BID, NOW_MS + 1500, state, its)
        assert not maker_rules.is_delayed(ASK, NOW_MS, state, its)

    def test_a_later_fill_prolongs_it(self) -> None:
        its = maker_params(filled_order_delay_s=10)
        state = remember(at(fills=[fill("1", ASK)]), MakerState(), its)
        state = remember(at(9, fills=[fill("2", ASK)]), state, its)
        assert maker_rules.is_delayed(ASK, NOW_MS + 18_000, state, its)

    def test_a_taker_is_no_reason_to_wait(self) -> None:
        state = remember(at(fills=[fill("1", BID, is_maker=False)]), MakerState(), maker_params())
        assert state == MakerState()

    def test_it_is_off_by_default(self) -> None:
        state = remember(at(fills=[fill("1", BID)]), MakerState(), maker_params())
        assert not maker_rules.is_delayed(BID, NOW_MS, state, maker_params())

    def test_a_clock_set_back_ends_it(self) -> None:
        state = MakerState(last_bought_at_ms=NOW_MS + 1)
        assert not maker_rules.is_delayed(BID, NOW_MS, state, maker_params(filled_order_delay_s=3600))

    def test_a_delayed_side_places_nothing(self) -> None:
        its = maker_params(filled_order_delay_s=10)
        state = MakerState(last_bought_at_ms=NOW_MS - 1000)
        for side, expected in ((BID, 0), (ASK, 1)):
            quotes = maker_rules.quotes(at(), state, its, ((0, D(149)),), side, D(1))
            assert len(quotes) == expected


class TestPriceBand:
    @pytest.mark.parametrize(
        ("mid", "sides"),
        [
            ("139.99", (BID,)),
            ("140", (BID, ASK)),
            ("160", (BID, ASK)),
            ("160.01", (ASK,)),
        ],
    )
    def test_nothing_is_bought_above_the_ceiling_or_sold_below_the_floor(
        self, mid: str, sides: tuple[Side, ...]
    ) -> None:
        its = maker_params(price_floor=140, price_ceiling=160)
        assert maker_rules.sides_in_band(D(mid), MakerState(), its) == sides

    def test_without_a_band_both_sides_are_quoted(self) -> None:
        assert maker_rules.sides_in_band(D(1), MakerState(), maker_params()) == (BID, ASK)

    def test_a_floor_must_be_below_the_ceiling(self) -> None:
        with pytest.raises(ValidationError, match="price_floor 160 must be below price_ceiling 160"):
            maker_params(price_floor=160, price_ceiling=160)


class TestMovingPriceBand:
    ITS = maker_params(moving_band_percent=2, moving_band_refresh_s=60)

    def test_the_first_mid_is_its_reference(self) -> None:
        state = remember(at(mid="150"), MakerState(), self.ITS)
        assert (state.band_reference, state.band_reference_at_ms) == (D(150), NOW_MS)

    @pytest.mark.parametrize(
        ("mid", "sides"), [("146.99", (BID,)), ("147", (BID, ASK)), ("153", (BID, ASK)), ("153.01", (ASK,))]
    )
    def test_it_stands_around_the_reference_until_that_is_refreshed(
        self, mid: str, sides: tuple[Side, ...]
    ) -> None:
        state = remember(at(mid="150"), MakerState(), self.ITS)
        state = remember(at(59.9, mid=mid), state, self.ITS)
        assert maker_rules.sides_in_band(D(mid), state, self.ITS) == sides

    def test_a_refreshed_reference_moves_it(self) -> None:
        state = remember(at(mid="150"), MakerState(), self.ITS)
        state = remember(at(60, mid="170"), state, self.ITS)
        assert state.band_reference == D(170)
        assert maker_rules.sides_in_band(D(170), state, self.ITS) == (BID, ASK)

    def test_a_clock_set_back_refreshes_it(self) -> None:
        state = MakerState(band_reference=D(1), band_reference_at_ms=NOW_MS + 10**9)
        assert remember(at(), state, self.ITS).band_reference == D(150)

    def test_a_book_without_a_mid_leaves_it_alone(self) -> None:
        state = MakerState(band_reference=D(1), band_reference_at_ms=0)
        blind = replace(at(), book=book(None, "150"))
        assert remember(blind, state, self.ITS) == state

    def test_both_bands_hold(self) -> None:
        its = maker_params(moving_band_percent=2, price_ceiling=151)
        state = remember(at(mid="150"), MakerState(), its)
        assert maker_rules.sides_in_band(D("151.5"), state, its) == (ASK,)


class TestCooldownAfterLoss:
    ITS = maker_params(loss_cooldown_trigger=5, loss_cooldown_s=80)

    def after(self, *profits: tuple[float, str]) -> tuple[MakerState, int]:
        """Return the state after realised profits at given seconds, and the last time in ms."""
        state = MakerState()
        for after_s, realized in profits:
            state = remember(at(after_s, realized=realized), state, self.ITS)
        return state, NOW_MS + round(profits[-1][0] * 1000)

    @pytest.mark.parametrize(
        ("profits", "expected"),
        [
            pytest.param([(0, "0"), (1, "-5")], False, id="exactly the trigger"),
            pytest.param([(0, "0"), (1, "-5.01")], True, id="at once"),
            pytest.param([(0, "0"), (30, "-3"), (60, "-5.01")], True, id="bit by bit"),
            pytest.param([(0, "0"), (1, "9"), (30, "3.9")], True, id="from a peak, still in profit"),
            pytest.param([(0, "0"), (40, "-3"), (81, "-5.01")], False, id="too slow"),
            pytest.param([(0, "3"), (10, "1"), (79, "-2.5")], True, id="from the first of two peaks"),
            pytest.param([(0, "0"), (50, "-1"), (90, "-3"), (120, "-6.01")], True, id="across windows"),
            pytest.param([(0, "0"), (10, "-4"), (20, "1"), (30, "-3.9")], False, id="from a lower peak"),
        ],
    )
    def test_a_fall_within_the_window_starts_it(
        self, profits: list[tuple[float, str]], expected: bool
    ) -> None:
        state, now_ms = self.after(*profits)
        assert maker_rules.is_cooling_down(now_ms, state, self.ITS) is expected

    def test_it_ends_after_its_time(self) -> None:
        state, now_ms = self.after((0, "0"), (1, "-6"))
        assert maker_rules.is_cooling_down(now_ms + 79_999, state, self.ITS)
        assert not maker_rules.is_cooling_down(now_ms + 80_000, state, self.ITS)

    def test_one_loss_starts_it_once(self) -> None:
        state, _ = self.after((0, "0"), (1, "-6"), (2, "-6"), (60, "-6"))
        assert state.cooldown_since_ms == NOW_MS + 1000

    def test_fees_are_a_loss(self) -> None:
        state = remember(at(), MakerState(), self.ITS)
        assert remember(at(1, fees="5.01"), state, self.ITS).cooldown_since_ms == NOW_MS + 1000

    def test_without_a_trigger_nothing_is_remembered(self) -> None:
        assert remember(at(realized="-100"), MakerState(), maker_params()) == MakerState()

    def test_a_trigger_needs_a_cooldown(self) -> None:
        with pytest.raises(ValidationError, match="loss_cooldown_trigger needs loss_cooldown_s"):
            maker_params(loss_cooldown_trigger=1, loss_cooldown_s=0)

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 2)), min_size=1, max_size=40))
    def test_it_sees_every_fall_within_most_of_the_window_and_none_outside(
        self, steps: list[tuple[int, int]]
    ) -> None:
        state, now_s, profit = MakerState(), 0, D(0)
        history: list[tuple[int, D]] = []
        for wait_s, change in steps:
            now_s, profit = now_s + wait_s, profit + change
            state = remember(at(now_s, realized=str(profit)), state, self.ITS)
            history.append((now_s, profit))
            assert len(state.profit_peaks) <= 9
            sure = [each for at_s, each in history if now_s - at_s < 70]
            possible = [each for at_s, each in history if now_s - at_s < 80]
            has_begun = state.cooldown_since_ms == NOW_MS + now_s * 1000
            if max(sure) - profit > 5:
                assert has_begun
            if has_begun:
                assert max(possible) - profit > 5
                history, state = [], state.model_copy(update={"cooldown_since_ms": None})


class TestLean:
    @pytest.mark.parametrize(
        ("side", "ratio", "expected"),
        [
            (BID, "0.5", "0.15"),
            (ASK, "0.5", "0.20"),
            (BID, "-1", "0.20"),
            (ASK, "-1", "0.10"),
            (BID, "0", "0.20"),
        ],
    )
    def test_the_side_that_adds_to_the_inventory_shrinks(self, side: Side, ratio: str, expected: str) -> None:
        size = ladder.lean(D("0.20"), at(), side, size_skew=D("0.5"), ratio=D(ratio))
        assert size == D(expected)

    def test_a_small_change_keeps_the_size_of_resting_orders(self) -> None:
        of = at(open_orders=[own_order(BID, "149.85", "0.16")])
        assert ladder.lean(D("0.20"), of, BID, size_skew=D("0.5"), ratio=D("0.5")) == D("0.16")


class TestMinimumSpread:
    @pytest.mark.parametrize("rounding", ["safe", "nearest"])
    @pytest.mark.parametrize("shift", ["0", "0.2", "-0.2", "40", "-40"])
    def test_no_quote_is_closer_to_the_mid_than_half_of_it(self, rounding: str, shift: str) -> None:
        its = maker_params(min_spread_bps=15, rounding=rounding)
        sides = ladder.ladders(at(), its, D(150), shift=D(shift))
        assert sides[BID][0][1] <= D("149.8875")
        assert sides[ASK][0][1] >= D("150.1125")

    def test_a_wider_spread_is_not_touched(self) -> None:
        wide = ladder.ladders(at(), maker_params(min_spread_bps=15), D(150))
        assert wide == ladder.ladders(at(), maker_params(), D(150))

    def test_a_ladder_that_is_held_back_keeps_its_shape(self) -> None:
        asks = ladder.ladders(at(), maker_params(min_spread_bps=10), D(150), shift=D(40))[ASK]
        assert asks == ((0, D("150.08")), (1, D("150.10")), (2, D("150.13")))


class TestState:
    def test_it_survives_json_to_the_last_digit(self) -> None:
        state = MakerState(
            last_bought_at_ms=1,
            band_reference=D("150.10"),
            band_reference_at_ms=2,
            profit_peaks=(ProfitPeak(at_ms=3, profit=D("-0.10")),),
            cooldown_since_ms=4,
            watched=(Watched(order_id="a", side=BID, level=3, quantity=D("0.20"), filled=D("0.100")),),
            hanging=("a",),
        )
        again = MakerState.model_validate_json(state.model_dump_json())
        assert again == state
        assert str(again.watched[0].filled) == "0.100"

    def test_every_parameter_has_a_description(self) -> None:
        assert all(field.description for field in MakerParams.model_fields.values())
