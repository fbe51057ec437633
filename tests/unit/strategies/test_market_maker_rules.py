"""The market maker's skew, the rules on its quotes, and what it says before a start."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.market_maker import Params, State, decide, inventory_ratio, preflight
from strategies.quoting import funds_of
from strategies.reconcile import reconcile
from tests.unit.strategies.maker_values import fill
from tests.unit.strategies.market_values import NOW_MS, book, instrument, own_order, placed, snapshot


def params(**given: Any) -> Params:
    return Params.model_validate({"spread": "0.2", "enable_rebalance": False, **given})


def quotes_of(of: Snapshot, **given: Any) -> tuple[Quote, ...]:
    return decide(of, State(), params(**given)).quotes


def prices(quotes: tuple[Quote, ...], side: Side) -> list[D]:
    return [quote.price for quote in quotes if quote.side is side]


def quantities(quotes: tuple[Quote, ...], side: Side) -> set[D]:
    return {quote.quantity for quote in quotes if quote.side is side}


class TestSkew:
    # 4 SOL are 600 of 1,300: 16.15 points above the target, so more than the threshold of 15.
    def test_too_much_base_moves_both_sides_down(self) -> None:
        quotes = quotes_of(snapshot(base="4"), inventory_skew="0.4", max_orders=2, quantity="0.1")
        assert prices(quotes, Side.BUY) == [D("149.79"), D("149.77")]
        assert prices(quotes, Side.SELL) == [D("150.09"), D("150.11")]

    def test_too_little_base_moves_both_sides_up(self) -> None:
        quotes = quotes_of(
            snapshot(base="0.5", quote="900"), inventory_skew="0.4", max_orders=1, quantity="0.1"
        )
        assert [quote.price for quote in quotes] == [D("149.91"), D("150.21")]

    @pytest.mark.parametrize(
        ("base", "quote", "ratio"),
        [
            ("4", "700", "1"),
            ("0", "900", "-1"),
            ("3", "1050", "0"),
            ("3.75", "937.5", "0.5"),
            ("0", "0", "0"),
        ],
    )
    def test_it_grows_with_the_deviation_up_to_the_threshold(self, base: str, quote: str, ratio: str) -> None:
        funds = funds_of(snapshot(base=base, quote=quote))
        assert funds is not None
        target = params(base_asset_target=30, rebalance_threshold=15)
        assert inventory_ratio(funds, D(150), target) == D(ratio)

    def test_a_size_skew_shrinks_the_side_that_adds_to_the_inventory(self) -> None:
        quotes = quotes_of(snapshot(base="4"), size_skew="0.5", quantity="0.4")
        assert quantities(quotes, Side.BUY) == {D("0.20")}
        assert quantities(quotes, Side.SELL) == {D("0.4")}

    def test_it_is_off_by_default(self) -> None:
        assert quotes_of(snapshot(base="4"), quantity="0.1") == quotes_of(
            snapshot(base="3", quote="1050"), quantity="0.1"
        )


class TestRules:
    """How the rules of `maker_rules` reach the quotes; `test_maker_rules` has each of them in full."""

    @pytest.mark.parametrize(
        ("given", "sides"),
        [({"price_ceiling": "149.99"}, {Side.SELL}), ({"price_floor": "150.01"}, {Side.BUY})],
    )
    def test_outside_a_price_band_one_side_is_quoted(
        self, given: dict[str, object], sides: set[Side]
    ) -> None:
        assert {quote.side for quote in quotes_of(snapshot(), quantity="0.1", **given)} == sides

    def test_a_rebalance_buys_nothing_above_the_ceiling(self) -> None:
        poor = snapshot(base="0.5", quote="900")
        assert decide(poor, State(), params(enable_rebalance=True)).taker is not None
        banded = decide(poor, State(), params(enable_rebalance=True, price_ceiling=149))
        assert banded.taker is None
        assert banded.state == State()

    def test_a_side_that_was_hit_is_withdrawn_for_the_delay(self) -> None:
        hit = replace(snapshot(), fills=(fill("1", Side.BUY),))
        decision = decide(hit, State(), params(quantity="0.1", filled_order_delay_s=5))
        assert {quote.side for quote in decision.quotes} == {Side.SELL}

    def test_nothing_is_traded_in_the_cool_down_after_a_loss(self) -> None:
        state = State(cooldown_since_ms=NOW_MS - 1000)
        decision = decide(snapshot(base="4"), state, params(enable_rebalance=True))
        assert (decision.quotes, decision.taker, decision.state) == ((), None, state)

    def test_a_hanging_order_keeps_its_price_and_its_share_of_the_funds(self) -> None:
        hung = own_order(Side.SELL, "151.00", "1", level=1, order_id="hung")
        of = snapshot(base="0.5", base_locked="1", quote="0", open_orders=[hung])
        decision = decide(of, State(hanging=("hung",)), params(quantity="1", hanging_orders=True))
        asks = [(quote.level, quote.price, quote.quantity) for quote in decision.quotes]
        assert asks == [(1, D("151.00"), D(1)), (0, D("150.15"), D("0.50"))]
        plan = reconcile(decision.quotes, [hung], tolerance_bps=D(1), instrument=instrument())
        assert plan.kept == (hung,)

    def test_a_filled_pair_leaves_its_other_order_where_it_is(self) -> None:
        its = params(quantity="0.2", max_orders=2, hanging_orders=True)
        first = decide(snapshot(base="4"), State(), its)
        resting = placed(first.quotes)
        second = decide(snapshot(base="4", open_orders=resting), first.state, its)
        # The market falls through the inner bid.
        gone = resting[0].order
        lower = replace(
            snapshot(base="4", open_orders=resting[1:], order_book=book("149.70", "149.76")),
            fills=(fill(gone.order_id, Side.BUY, gone.quantity, gone.price or 0),),
        )
        third = decide(lower, second.state, its)
        assert prices(third.quotes, Side.SELL) == [D("150.15"), D("149.90")]


class TestPreflight:
    def test_good_parameters_bring_no_remark(self) -> None:
        said = preflight(snapshot(), params(quantity="0.1"))
        assert (said.problems, said.warnings) == ((), ())

    def test_a_quantity_below_the_minimum_is_a_problem(self) -> None:
        said = preflight(snapshot(of=instrument(min_quantity="0.5")), params(quantity="0.1"))
        assert ["raise strategy_config.quantity" in problem for problem in said.problems] == [True]

    def test_an_account_that_can_pay_neither_side_cannot_start(self) -> None:
        said = preflight(snapshot(base="0.009", quote="1.49"), params())
        assert ["cover neither side" in problem for problem in said.problems] == [True]

    @pytest.mark.parametrize(
        ("base", "quote", "words"), [("4", "1.49", "no bids for now"), ("0.009", "700", "no asks for now")]
    )
    def test_an_account_that_can_pay_one_side_is_warned(self, base: str, quote: str, words: str) -> None:
        said = preflight(snapshot(base=base, quote=quote), params())
        assert said.problems == ()
        assert [words in warning for warning in said.warnings] == [True]

    def test_unknown_balances_are_told(self) -> None:
        said = preflight(snapshot(base=None, quote=None), params())
        assert ["balances are not known" in warning for warning in said.warnings] == [True]

    def test_a_spread_narrower_than_two_ticks_is_told(self) -> None:
        said = preflight(snapshot(), params(spread="0.01"))
        assert ["narrower than two ticks" in warning for warning in said.warnings] == [True]

    def test_a_minimum_spread_counts_as_the_spread(self) -> None:
        assert preflight(snapshot(), params(spread="0.01", min_spread_bps=2)).warnings == ()
