"""The perpetual market maker's parameters, its state as text, and what it says before a start."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from pydantic import ValidationError

from market.orders import Side
from market.position import Balance
from market.snapshot import Snapshot
from market.terms import AccountTerms
from strategies.perp_maker_params import AfterClose, Params
from strategies.perp_market_maker import (
    STRATEGY,
    State,
    preflight,
    unwind,
)
from tests.unit.strategies.maker_values import (
    decided,
    fill,
    perp_instrument,
    perp_params,
    perp_snapshot,
    position,
)
from tests.unit.strategies.market_values import book, own_order


class TestPreflight:
    def test_good_parameters_bring_no_remark(self) -> None:
        for of in (perp_snapshot(0, is_exclusive=False, available=1000), perp_snapshot(1, available=1000)):
            said = preflight(of, perp_params(stop_loss=9))
            assert (said.problems, said.warnings) == ((), ())

    @pytest.mark.parametrize("key", ["quantity", "max_position"])
    def test_what_can_never_be_an_order_is_a_problem(self, key: str) -> None:
        given = perp_params(**{"quantity": 2, "max_orders": 1, key: "0.5"})
        said = preflight(perp_snapshot(0, of=perp_instrument(min_quantity="1")), given)
        assert [f"raise strategy_config.{key}" in problem for problem in said.problems] == [True]

    @pytest.mark.parametrize(
        ("of", "given", "words"),
        [
            (perp_snapshot(0), {"quantity": 2}, "3 orders of 2 are 6 a side, above max_position 5"),
            (perp_snapshot(0), {"spread": "0.01"}, "narrower than two ticks"),
            (perp_snapshot(7), {}, "the excess will be closed at once"),
            (perp_snapshot(7, is_exclusive=False), {}, "it counts, but is left to others"),
            (perp_snapshot(1, is_exclusive=False), {"stop_loss": 9}, "look at what this run adds to it only"),
            (perp_snapshot(2), {"target_position": 1}, "beyond target_position + position_threshold, 1.1"),
            (perp_snapshot(0), {"target_position": "0.3"}, "traded back at market at once"),
            (perp_snapshot(0), {"target_position": 0, "quantity": None}, "an order of 0.41 is above"),
            (perp_snapshot(0, available=0), {}, "no USDC is available"),
            (perp_snapshot(0, available=224), {}, "a side of 1.5 at 150.00 is worth 225.00, but the 224"),
            (perp_snapshot(0, available=25), {}, "with the leverage of 1 taken for granted"),
            (perp_snapshot(0), {"price_ceiling": 140}, "no bids until it falls"),
            (perp_snapshot(0), {"price_floor": 160}, "no asks until it rises"),
        ],
    )
    def test_surprises_are_warned_of(self, of: Snapshot, given: dict[str, object], words: str) -> None:
        said = preflight(of, perp_params(**given))
        assert said.problems == ()
        assert [words in warning for warning in said.warnings] == [True]

    TERMS = AccountTerms(
        spot_maker_bps=D(8),
        spot_taker_bps=D(10),
        perp_maker_bps=D(2),
        perp_taker_bps=D(5),
        leverage_limit=D(3),
    )

    @pytest.mark.parametrize(
        ("available", "spread", "words"),
        [
            pytest.param(75, "0.05", [], id="leverage just enough, fees just paid"),
            pytest.param("74.9", "0.05", ["the account allows: the outer orders"], id="too much leverage"),
            pytest.param(25, "0.05", ["the 25 USDC available carry 75.00"], id="just one order"),
            pytest.param(75, "0.04", ["does not pay for the fees"], id="fees not paid"),
        ],
    )
    def test_fees_and_leverage_of_the_account_are_looked_at(
        self, available: object, spread: str, words: list[str]
    ) -> None:
        of = replace(perp_snapshot(0, available=D(str(available))), terms=self.TERMS)
        said = preflight(of, perp_params(spread=spread))
        warnings = said.warnings
        assert said.problems == ()
        assert [word in warning for word, warning in zip(words, warnings, strict=True)] == [True] * len(words)

    def test_a_margin_that_covers_not_one_order_is_a_problem(self) -> None:
        of = replace(perp_snapshot(0, available="24.9"), terms=self.TERMS)
        [problem] = preflight(of, perp_params()).problems
        assert problem == (
            "one order of 0.5 at 150.00 is worth 75.00, but the 24.9 USDC available carry 74.70 with the "
            "leverage of 3 that the account allows"
        )

    def test_it_is_a_warning_where_more_than_that_may_stand_behind_an_order(self) -> None:
        poor = replace(perp_snapshot(0, available="24.9"), terms=self.TERMS)
        coins = {**poor.balances, "SOL": Balance(asset="SOL", available=D(1), locked=D(0))}
        for of in (replace(poor, balances=coins), replace(poor, position=position(-1))):
            said = preflight(of, perp_params())
            assert said.problems == ()
            assert ["one order of 0.5" in warning for warning in said.warnings] == [True]

    def test_no_more_than_the_cap_needs_margin(self) -> None:
        of = replace(perp_snapshot(0, available=250), terms=self.TERMS)
        # Three orders of 2 are cut to max_position 5: 750, just what is carried.
        said = preflight(of, perp_params(quantity=2))
        assert ["above max_position 5" in warning for warning in said.warnings] == [True]

    def test_the_automatic_size_is_compared_with_the_margin(self) -> None:
        # A quarter of 40 in three layers is 3.33 each.
        of = replace(perp_snapshot(0, available=100), terms=self.TERMS)
        [problem] = preflight(of, perp_params(quantity=None, max_position=40)).problems
        assert "one order of 3.33 at 150.00 is worth 499.50" in problem

    def test_without_a_price_it_says_what_it_can(self) -> None:
        blind = perp_snapshot(0, order_book=book(None, None), available=10)
        assert preflight(blind, perp_params(price_ceiling=1)).warnings == ()


class TestParams:
    def test_a_configuration_of_the_old_program_is_accepted(self) -> None:
        old = Params.model_validate(
            {
                "spread": 0.1,
                "quantity": None,
                "max_orders": 3,
                "target_position": 0.5,
                "max_position": 3,
                "position_threshold": 0.2,
                "inventory_skew": 0.002,
                "stop_loss": -25,
                "take_profit": 50,
                "leverage": 5,
            }
        )
        assert (old.stop_loss, old.take_profit, old.position_cap) == (D(25), D(50), D(3))

    def test_what_is_not_given_is_as_in_the_old_program(self) -> None:
        old = Params.model_validate({"spread": 0.1})
        assert (old.target_position, old.max_position, old.position_threshold) == (None, D(1), D("0.1"))
        assert (old.inventory_skew, old.stop_loss, old.take_profit, old.leverage) == (D(0), None, None, D(1))
        assert (old.after_stop_loss, old.loss_cooldown_s) == (AfterClose.COOLDOWN, D(300))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("spread", 0),
            ("max_position", 0),
            ("target_position", -1),
            ("position_threshold", 0),
            ("inventory_skew", 1.1),
            ("skew_unit", "ticks"),
            ("stop_loss", "NaN"),
            ("take_profit", -1),
            ("leverage", "0.5"),
            ("after_stop_loss", "go on"),
            ("close_slippage_bps", 1001),
            ("enable_rebalance", True),
        ],
    )
    def test_values_out_of_range_and_unknown_keys_are_refused(self, key: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            perp_params(**{key: value})
        assert [error["loc"] for error in caught.value.errors()] == [(key,)]

    def test_a_barrier_of_zero_is_none(self) -> None:
        assert perp_params(stop_loss=0, take_profit="0.0") == perp_params()

    def test_every_parameter_has_a_description(self) -> None:
        assert all(field.description for field in Params.model_fields.values())

    def test_parameters_and_state_survive_json(self) -> None:
        some = perp_params(stop_loss=-25, size_skew="0.5")
        assert Params.model_validate_json(some.model_dump_json()) == some
        of = perp_snapshot(
            position("0.10", unrealized="-3.30"),
            open_orders=[own_order(Side.BUY, "149.85")],
            fills=[fill("1", Side.BUY)],
            realized="-0.10",
        )
        state = decided(
            of, stop_loss=3, hanging_orders=True, moving_band_percent=5, loss_cooldown_trigger=9
        ).state
        assert state.closing is not None
        assert state.watched
        assert state.profit_peaks
        assert State.model_validate_json(state.model_dump_json()) == state

    def test_it_is_registered_under_its_old_name(self) -> None:
        assert (STRATEGY.title, STRATEGY.config_name) == ("PerpetualMarketMaker", "standard")
        assert STRATEGY.unwind is unwind
        assert not STRATEGY.unwinds_at_stop
