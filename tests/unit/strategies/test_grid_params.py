"""What a user may set for a grid, and the old program's files."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from pydantic import ValidationError

from strategies import grid, perp_grid
from strategies.grid_params import State
from tests.unit.strategies.grid_values import RANGE, perp_at


def spot_params(**given: Any) -> grid.Params:
    return grid.Params.model_validate({**RANGE, **given})


def perp_params(**given: Any) -> perp_grid.Params:
    return perp_grid.Params.model_validate({**RANGE, **given})


class TestSpot:
    def test_a_configuration_of_the_old_program_is_accepted(self) -> None:
        old = grid.Params.model_validate(
            {
                "grid_upper": 160,
                "grid_lower": "140.5",
                "grid_num": 10,
                "grid_mode": "geometric",
                "auto_price_range": False,
                "price_range_percent": 5.0,
                "quantity": 0.1,
                "auto_borrow": True,
                "auto_borrow_repay": True,
            }
        )
        assert (old.grid_upper_price, old.grid_lower_price, old.order_quantity) == (
            D(160),
            D("140.5"),
            D("0.1"),
        )
        assert old.position_cap is None

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("grid_num", 1),
            ("grid_num", 201),
            ("grid_mode", "linear"),
            ("grid_upper_price", 0),
            ("order_quantity", 0),
            ("price_range_percent", 100),
            ("boundary_tolerance", "1.1"),
            ("take_profit", -1),
            ("close_slippage_bps", -1),
            ("max_position", 1),
        ],
    )
    def test_values_out_of_range_and_unknown_keys_are_refused(self, key: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            spot_params(**{key: value})
        assert [error["loc"] for error in caught.value.errors()] == [(key,)]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"grid_lower_price": 132}, "must be below grid_upper_price"),
            ({"grid_lower_price": None}, "needed unless auto_price_range is true"),
        ],
    )
    def test_a_range_needs_two_ends_in_order(self, given: dict[str, object], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            spot_params(**given)

    def test_an_automatic_range_needs_none(self) -> None:
        assert grid.Params.model_validate({"auto_price_range": True}).grid_num == 10

    @pytest.mark.parametrize(("given", "expected"), [(-25, D(25)), (25, D(25)), (0, None), (None, None)])
    def test_the_sign_of_the_stop_loss_is_ignored(self, given: object, expected: D | None) -> None:
        assert spot_params(stop_loss=given).stop_loss == expected

    def test_a_take_profit_of_zero_is_none(self) -> None:
        assert spot_params(take_profit=0).take_profit is None
        assert perp_params(take_profit=0, stop_loss=0).take_profit is None

    @pytest.mark.parametrize(
        "key",
        [
            "spread",
            "max_orders",
            "grid_type",
            "max_position",
            "target_position",
            "position_threshold",
            "inventory_skew",
            "leverage",
        ],
    )
    def test_keys_of_the_old_program_without_a_meaning_here_are_known(self, key: str) -> None:
        assert grid.Params.inert[key]
        assert key not in grid.Params.model_fields

    def test_every_parameter_has_a_description(self) -> None:
        assert all(field.description for field in grid.Params.model_fields.values())


class TestPerp:
    def test_the_configuration_of_the_old_programs_long_grid_is_accepted(self) -> None:
        old = perp_grid.Params.model_validate(
            {
                "grid_upper_price": 135.0,
                "grid_lower_price": 121.0,
                "grid_num": 20,
                "grid_mode": "arithmetic",
                "grid_type": "long",
                "max_position": 1.5,
                "stop_loss": 25,
                "take_profit": 50,
                "boundary_action": "emergency_close",
                "boundary_tolerance": 0.001,
                "enable_boundary_check": True,
                "target_position": 0,
                "position_threshold": 1.5,
                "inventory_skew": 0,
                "leverage": 3,
            }
        )
        assert (old.position_cap, old.stop_loss, old.order_quantity) == (D("1.5"), D(25), None)
        state = perp_grid.decide(perp_at("128"), State(), old).state
        assert state.grid is not None
        assert (state.grid.quantity, state.grid.intervals) == (D("0.06"), 19)

    def test_keys_of_the_old_program_without_a_meaning_here_are_known(self) -> None:
        assert set(perp_grid.Params.inert) == {"spread", "max_orders"}

    def test_a_missing_largest_position_is_one_as_before(self) -> None:
        assert perp_grid.Params.model_validate(RANGE).position_cap == 1

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("grid_type", "both"),
            ("max_position", 0),
            ("leverage", 0),
            ("boundary_action", "hope"),
            ("spread", 1),
        ],
    )
    def test_values_out_of_range_and_unknown_keys_are_refused(self, key: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            perp_params(**{key: value})
        assert [error["loc"] for error in caught.value.errors()] == [(key,)]

    def test_every_parameter_has_a_description(self) -> None:
        assert all(field.description for field in perp_grid.Params.model_fields.values())
