"""The market maker's decisions, with the figures of the program it replaces."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from pydantic import ValidationError

from market.book import OrderBook
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from strategies.market_maker import Params, State, decide
from strategies.quoting import Funds, Rounding
from strategies.rebalance import back_to_target
from strategies.reconcile import reconcile
from tests.unit.strategies.maker_values import OLD_LADDERS
from tests.unit.strategies.market_values import (
    NOW_MS,
    book,
    instrument,
    own_order,
    placed,
    snapshot,
)


def params(**given: Any) -> Params:
    return Params.model_validate({"spread": "0.2", "enable_rebalance": False, **given})


def quotes_of(of: Snapshot, **given: Any) -> tuple[Quote, ...]:
    return decide(of, State(), params(**given)).quotes


def prices(quotes: tuple[Quote, ...], side: Side) -> list[D]:
    return [quote.price for quote in quotes if quote.side is side]


def quantities(quotes: tuple[Quote, ...], side: Side) -> set[D]:
    return {quote.quantity for quote in quotes if quote.side is side}


class TestLadder:
    @pytest.mark.parametrize(("bid", "ask", "tick", "spread", "expected"), OLD_LADDERS)
    def test_nearest_rounding_gives_the_prices_of_the_old_program(
        self, bid: str, ask: str, tick: str, spread: str, expected: list[tuple[str, str]]
    ) -> None:
        quotes = quotes_of(
            snapshot(of=instrument(tick_size=tick), order_book=book(bid, ask), base="100", quote="1000000"),
            spread=spread,
            max_orders=len(expected),
            rounding="nearest",
            quantity="0.1",
        )
        assert prices(quotes, Side.BUY) == [D(lower) for lower, _ in expected]
        assert prices(quotes, Side.SELL) == [D(upper) for _, upper in expected]

    def test_safe_rounding_moves_bids_down_and_asks_up(self) -> None:
        quotes = quotes_of(snapshot(), max_orders=4, quantity="0.1")
        assert prices(quotes, Side.BUY) == [D("149.85"), D("149.83"), D("149.80"), D("149.77")]
        assert prices(quotes, Side.SELL) == [D("150.15"), D("150.17"), D("150.20"), D("150.23")]

    def test_bps_spacing_puts_layers_equally_far_apart(self) -> None:
        quotes = quotes_of(snapshot(), quantity="0.1", layer_spacing="bps", layer_step_bps=10)
        assert prices(quotes, Side.BUY) == [D("149.85"), D("149.70"), D("149.55")]
        assert prices(quotes, Side.SELL) == [D("150.15"), D("150.30"), D("150.45")]

    def test_quotes_are_post_only_and_numbered_from_the_inside(self) -> None:
        quotes = quotes_of(snapshot(), quantity="0.1")
        assert all(quote.post_only for quote in quotes)
        assert [quote.level for quote in quotes] == [0, 1, 2, 0, 1, 2]

    def test_layers_that_fall_on_one_price_become_one_quote(self) -> None:
        coarse = snapshot(of=instrument(tick_size="1"), order_book=book("149", "151"))
        quotes = quotes_of(coarse, quantity="0.1", layer_spacing="bps", layer_step_bps=1, max_orders=5)
        assert prices(quotes, Side.BUY) == [D(149)]
        assert prices(quotes, Side.SELL) == [D(151)]

    def test_nearest_rounding_never_puts_bid_and_ask_on_one_price(self) -> None:
        coarse = snapshot(of=instrument(tick_size="1"), order_book=book("149", "151"))
        quotes = quotes_of(coarse, spread="0.01", quantity="0.1", max_orders=1, rounding="nearest")
        assert (prices(quotes, Side.BUY), prices(quotes, Side.SELL)) == ([D(149)], [D(151)])

    def test_prices_outside_the_exchange_filter_are_left_out(self) -> None:
        narrow = snapshot(of=instrument(min_price="149.84", max_price="150.16"))
        quotes = quotes_of(narrow, quantity="0.1", rounding="nearest", max_orders=4)
        assert prices(quotes, Side.BUY) == [D("149.85"), D("149.84")]
        assert prices(quotes, Side.SELL) == [D("150.15"), D("150.16")]


class TestSize:
    @pytest.mark.parametrize(("layers", "bid", "ask"), [(3, "0.23", "0.20"), (8, "0.14", "0.12")])
    def test_the_automatic_size_is_a_share_of_each_asset(self, layers: int, bid: str, ask: str) -> None:
        quotes = quotes_of(snapshot(base="4", quote="700"), max_orders=layers, rounding="nearest")
        assert quantities(quotes, Side.BUY) == {D(bid)}
        assert quantities(quotes, Side.SELL) == {D(ask)}

    def test_the_automatic_size_is_at_least_the_minimum(self) -> None:
        quotes = quotes_of(snapshot(of=instrument(min_quantity="0.5"), base="4", quote="700"))
        assert quantities(quotes, Side.BUY) == quantities(quotes, Side.SELL) == {D("0.5")}

    def test_a_small_change_of_the_totals_keeps_the_size_of_resting_orders(self) -> None:
        resting = [own_order(Side.SELL, "150.15", "0.21")]
        quotes = quotes_of(snapshot(base="3.79", base_locked="0.21", open_orders=resting))
        assert quantities(quotes, Side.SELL) == {D("0.21")}

    def test_a_large_change_of_the_totals_changes_the_size(self) -> None:
        resting = [own_order(Side.SELL, "150.15", "0.40")]
        quotes = quotes_of(snapshot(base="3.60", base_locked="0.40", open_orders=resting))
        assert quantities(quotes, Side.SELL) == {D("0.20")}

    def test_no_order_is_above_the_exchange_maximum(self) -> None:
        quotes = quotes_of(
            snapshot(of=instrument(max_quantity="0.15"), base="10", quote="3000"), quantity="1"
        )
        assert {quote.quantity for quote in quotes} == {D("0.15")}

    def test_a_quantity_below_the_minimum_stops_the_run_with_advice(self) -> None:
        decision = decide(snapshot(of=instrument(min_quantity="0.5")), State(), params(quantity="0.1"))
        assert decision.quotes == ()
        assert decision.stop_reason is not None
        assert "raise strategy_config.quantity" in decision.stop_reason


class TestBudget:
    def test_outer_levels_are_cut_and_then_dropped_when_funds_run_out(self) -> None:
        quotes = quotes_of(snapshot(base="1.50", quote="0"), quantity="1", max_orders=3)
        assert [(quote.level, quote.quantity) for quote in quotes] == [(0, D(1)), (1, D("0.50"))]

    def test_a_level_cut_below_the_minimum_is_dropped_not_rounded_up(self) -> None:
        tight = snapshot(of=instrument(min_quantity="0.2"), base="1.19", quote="0")
        assert [quote.quantity for quote in quotes_of(tight, quantity="1")] == [D(1)]

    def test_what_own_orders_hold_can_be_quoted_again(self) -> None:
        resting = [own_order(Side.SELL, "150.15", "2")]
        quotes = quotes_of(
            snapshot(base="0", base_locked="2", quote="0", open_orders=resting), quantity="2", max_orders=1
        )
        assert [(quote.side, quote.quantity) for quote in quotes] == [(Side.SELL, D(2))]

    def test_bids_leave_room_for_the_tolerance_of_their_price(self) -> None:
        # 149.85 would be enough for one at the wanted price, but a kept bid may stand a little above it.
        quotes = quotes_of(snapshot(base="0", quote="149.85"), quantity="1", max_orders=1)
        assert [quote.quantity for quote in quotes] == [D("0.99")]

    def test_what_other_people_hold_cannot_be_quoted(self) -> None:
        assert quotes_of(snapshot(base="0", base_locked="2", quote="0"), quantity="1") == ()

    def test_an_order_filled_between_two_reads_does_not_count_twice(self) -> None:
        # The list still shows the order, the balance no longer holds the coins.
        resting = [own_order(Side.SELL, "150.15", "2")]
        quotes = quotes_of(snapshot(base="1", quote="0", open_orders=resting), quantity="2", max_orders=1)
        assert [quote.quantity for quote in quotes] == [D(1)]

    def test_an_asset_missing_from_known_balances_counts_as_zero(self) -> None:
        assert {quote.side for quote in quotes_of(snapshot(base=None), quantity="0.1")} == {Side.BUY}


class TestUnknown:
    @pytest.mark.parametrize(
        "unclear",
        [book(None, "150.03"), book("149.97", None), book(None, None), book("150.03", "150.03")],
        ids=["no bids", "no asks", "empty", "crossed"],
    )
    def test_without_a_two_sided_book_quotes_are_withdrawn(self, unclear: OrderBook) -> None:
        decision = decide(
            snapshot(order_book=unclear, base="400"),
            State(last_rebalance_at_ms=5),
            params(enable_rebalance=True),
        )
        assert (decision.quotes, decision.taker) == ((), None)
        assert decision.state == State(last_rebalance_at_ms=5)

    def test_without_balances_quotes_are_withdrawn(self) -> None:
        decision = decide(snapshot(base=None, quote=None), State(), params(enable_rebalance=True))
        assert (decision.quotes, decision.taker) == ((), None)


class TestRebalance:
    def decide(self, of: Snapshot, state: State | None = None, **given: Any) -> Any:
        return decide(of, state or State(), params(enable_rebalance=True, **given))

    @pytest.mark.parametrize(
        ("base", "quote", "expected"),
        [("4", "700", (Side.SELL, "1.40", "149.82")), ("0.5", "900", (Side.BUY, "1.45", "150.18"))],
        ids=["too much base", "too little base"],
    )
    def test_nearest_rounding_gives_the_orders_of_the_old_program(
        self, base: str, quote: str, expected: tuple[Side, str, str]
    ) -> None:
        side, quantity, limit_price = expected
        taker = self.decide(snapshot(base=base, quote=quote), rounding="nearest").taker
        assert taker == TakerOrder(
            side=side, quantity=D(quantity), limit_price=D(limit_price), reason="rebalance"
        )

    def test_safe_rounding_never_allows_more_slippage_than_configured(self) -> None:
        assert self.decide(snapshot(base="4", quote="700")).taker.limit_price == D("149.83")

    def test_a_mix_within_the_threshold_is_left_alone(self) -> None:
        # 44.9 % base: 14.9 points from the target.
        assert self.decide(snapshot(base="4.49", quote="826.5")).taker is None

    def test_a_tiny_account_is_left_alone(self) -> None:
        assert self.decide(snapshot(base="0.09", quote="1")).taker is None

    def test_an_empty_account_is_left_alone(self) -> None:
        assert self.decide(snapshot(base="0", quote="0", of=instrument(min_quantity="0"))).taker is None

    def test_it_can_be_switched_off(self) -> None:
        assert decide(snapshot(base="4"), State(), params(enable_rebalance=False)).taker is None

    def test_the_side_it_would_hit_is_not_quoted(self) -> None:
        selling = self.decide(snapshot(base="4", quote="700"))
        assert {quote.side for quote in selling.quotes} == {Side.SELL}
        buying = self.decide(snapshot(base="0.5", quote="900"))
        assert {quote.side for quote in buying.quotes} == {Side.BUY}

    def test_own_quotes_on_the_side_it_would_hit_are_cancelled_before_it(self) -> None:
        resting = placed(quotes_of(snapshot(base="4", quote="700")))
        decision = self.decide(snapshot(base="4", quote="700", open_orders=resting))
        plan = reconcile(decision.quotes, resting, tolerance_bps=D(1), instrument=instrument())
        assert {own for own in resting if own.order.side is Side.BUY} <= set(plan.cancels)

    def test_it_uses_no_more_than_is_available_here(self) -> None:
        # 4 SOL in all, but other programs' orders hold 3.2 of them.
        decision = self.decide(snapshot(base="0.8", base_locked="3.2", quote="700"))
        assert decision.taker.quantity == D("0.80")
        assert decision.quotes == ()

    def test_a_purchase_is_paid_from_what_is_available_here(self) -> None:
        # 900 USDC in all, but other programs' orders hold 800 of them: 100 / 150.18 at the limit.
        decision = self.decide(snapshot(base="0.5", quote="100", quote_locked="800"))
        assert decision.taker.quantity == D("0.66")

    def test_it_leaves_a_twentieth_of_the_asset(self) -> None:
        selling = self.decide(snapshot(base="4", quote="0"), base_asset_target=0)
        assert selling.taker.quantity == D("3.80")
        buying = self.decide(snapshot(base="0", quote="1500.30"), base_asset_target=100)
        assert buying.taker.quantity == D("9.50")

    def test_it_is_not_sent_below_the_exchange_minimum(self) -> None:
        decision = self.decide(snapshot(base="0.05", base_locked="3.95", of=instrument(min_quantity="0.1")))
        assert decision.taker is None
        assert decision.state == State()

    def test_what_it_takes_is_not_quoted_as_well(self) -> None:
        decision = self.decide(snapshot(base="4", quote="700"), quantity="1", max_orders=5)
        asked = sum(quote.quantity for quote in decision.quotes)
        assert asked + decision.taker.quantity == D(4)

    def test_its_time_is_remembered(self) -> None:
        assert self.decide(snapshot(base="4")).state == State(last_rebalance_at_ms=NOW_MS)

    def test_it_waits_for_the_cool_down(self) -> None:
        recent = State(last_rebalance_at_ms=NOW_MS - 59_999)
        decision = self.decide(snapshot(base="4"), recent)
        assert decision.taker is None
        assert decision.state == recent
        assert {quote.side for quote in decision.quotes} == set(Side)

    def test_it_comes_again_after_the_cool_down(self) -> None:
        assert self.decide(snapshot(base="4"), State(last_rebalance_at_ms=NOW_MS - 60_000)).taker is not None

    def test_a_clock_set_back_does_not_block_it(self) -> None:
        assert self.decide(snapshot(base="4"), State(last_rebalance_at_ms=NOW_MS + 10**9)).taker is not None

    def test_a_limit_price_outside_the_exchange_filter_is_not_sent(self) -> None:
        of = snapshot(of=instrument(min_price="149.90"), base="4", quote="700")
        assert self.decide(of).taker is None

    def test_a_one_sided_book_has_no_price_to_rebalance_at(self) -> None:
        funds = Funds(base_total=D(4), quote_total=D(0), base_spendable=D(4), quote_spendable=D(0))
        taker = back_to_target(
            snapshot(order_book=book(None, "150")),
            funds,
            target_percent=D(30),
            threshold_percent=D(15),
            slippage_bps=D(10),
            rounding=Rounding.SAFE,
        )
        assert taker is None


class TestParams:
    def test_a_configuration_of_the_old_program_is_accepted(self) -> None:
        old = Params.model_validate(
            {
                "spread": 0.2,
                "quantity": None,
                "max_orders": 3,
                "enable_rebalance": True,
                "base_asset_target_percentage": 40,
                "rebalance_threshold": 15.5,
            }
        )
        assert (old.spread, old.base_asset_target, old.rebalance_threshold) == (D("0.2"), D(40), D("15.5"))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("spread", 0),
            ("spread", "NaN"),
            ("max_orders", 0),
            ("max_orders", 51),
            ("quantity", 0),
            ("base_asset_target", 101),
            ("rebalance_threshold", 0),
            ("refresh_tolerance_bps", None),
            ("spraed", 1),
        ],
    )
    def test_values_out_of_range_and_unknown_keys_are_refused(self, key: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            params(**{key: value})
        assert [error["loc"] for error in caught.value.errors()] == [(key,)]

    def test_spread_is_required(self) -> None:
        with pytest.raises(ValidationError, match="spread"):
            Params.model_validate({})

    @pytest.mark.parametrize("given", [{"layer_spacing": "bps"}, {"layer_step_bps": 5}])
    def test_a_layer_step_and_bps_spacing_need_each_other(self, given: dict[str, object]) -> None:
        with pytest.raises(ValidationError, match="need each other"):
            params(**given)

    def test_a_tolerance_as_wide_as_half_of_the_spread_is_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"below 10\.0 bps"):
            params(spread="0.2", refresh_tolerance_bps=10)

    @pytest.mark.parametrize(("spread", "tolerance"), [("0.5", "1"), ("0.02", "0.1"), (0.01, "0.05")])
    def test_the_default_tolerance_is_narrower_for_a_narrow_spread(
        self, spread: object, tolerance: str
    ) -> None:
        assert params(spread=spread).refresh_tolerance_bps == D(tolerance)

    def test_every_parameter_has_a_description(self) -> None:
        assert all(field.description for field in Params.model_fields.values())

    def test_parameters_and_state_survive_json(self) -> None:
        some = params(quantity="0.1", layer_spacing="bps", layer_step_bps="2.5")
        assert Params.model_validate_json(some.model_dump_json()) == some
        state = State(last_rebalance_at_ms=NOW_MS)
        assert State.model_validate_json(state.model_dump_json()) == state
