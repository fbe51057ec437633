"""What is said about a grid before it starts."""

from __future__ import annotations

from typing import Any

import pytest

from market.snapshot import Snapshot
from strategies import grid, perp_grid
from strategies.base import Preflight
from tests.unit.strategies.grid_values import RANGE, perp_at, position, spot_at, terms
from tests.unit.strategies.market_values import book


def spot_params(**given: Any) -> grid.Params:
    return grid.Params.model_validate({**RANGE, "order_quantity": "0.5", **given})


def perp_params(**given: Any) -> perp_grid.Params:
    return perp_grid.Params.model_validate({**RANGE, "order_quantity": "0.5", "max_position": 10, **given})


AUTOMATIC: dict[str, Any] = {"auto_price_range": True, "grid_lower_price": None, "grid_upper_price": None}


class TestSpot:
    def test_a_grid_that_fits_has_nothing_to_say(self) -> None:
        assert grid.preflight(spot_at(), spot_params()) == Preflight()

    @pytest.mark.parametrize(
        ("when", "given", "message"),
        [
            pytest.param(
                spot_at(), {"order_quantity": "0.001"}, "raise strategy_config.order_quantity", id="small"
            ),
            pytest.param(spot_at(base=None, quote=None), {}, "holds nothing", id="nothing held"),
            pytest.param(spot_at(base="0.001", quote="1"), {}, "pay for none", id="too little held"),
            pytest.param(
                spot_at(base="0", quote="0"), {"order_quantity": None}, "fund the account", id="automatic"
            ),
        ],
    )
    def test_what_cannot_work_keeps_it_from_starting(
        self, when: Snapshot, given: dict[str, Any], message: str
    ) -> None:
        found = grid.preflight(when, spot_params(**given))
        assert len(found.problems) == 1
        assert message in found.problems[0]

    @pytest.mark.parametrize(
        ("when", "given", "message"),
        [
            pytest.param(
                spot_at(quote="200"),
                {},
                "all 4 buys below the price need 246 USDC, 200 are available",
                id="too little quote",
            ),
            pytest.param(
                spot_at(base="0.4"),
                {},
                "the 2 intervals above the price need 1 SOL to sell, 0.4 are available",
                id="too little base",
            ),
            pytest.param(spot_at("119"), {}, "price 119 is outside of the range 120 to 132", id="outside"),
            pytest.param(
                spot_at("119"),
                {"enable_boundary_check": True},
                "boundary_action stop_only ends the run at its first decision",
                id="outside and watched",
            ),
            pytest.param(
                spot_at("131.9"),
                {"enable_boundary_check": True},
                "at the upper end of the range 120 to 132: a move of 0.18 % ends the run",
                id="at an end and watched",
            ),
            pytest.param(
                spot_at(),
                {"order_quantity": "0.019"},
                "less than two of the smallest orders",
                id="close to minimum",
            ),
            pytest.param(
                spot_at("120.03"),
                {"grid_upper_price": "120.05"},
                "grid_num 7 levels fall on 6 prices at a tick of 0.01: the grid has 5 intervals",
                id="merged levels",
            ),
            pytest.param(
                spot_at(), {"auto_price_range": True}, "auto_price_range has no effect", id="given bounds"
            ),
            pytest.param(
                spot_at(),
                {"auto_price_range": True, "grid_lower_price": None},
                "grid_upper_price has no effect",
                id="one given bound",
            ),
            pytest.param(
                spot_at("119", quote="800"),
                {"order_quantity": None},
                "the automatic order_quantity 1.58 uses 0 of 800 USDC at this price",
                id="quote unused",
            ),
            pytest.param(
                spot_at(),
                {"stop_loss": 5},
                "stop_loss neither measures nor sells the 1 SOL that the account holds already",
                id="stop-loss beside stock",
            ),
            pytest.param(
                spot_at(),
                {"enable_boundary_check": True, "boundary_action": "adjust_range"},
                # (120 + 122 + 124 + 126 + 2 x 126.3) / 6: what is held above the price is worth the price.
                "at 120 a full grid is long 3 SOL from 124.1 on average, a loss of 12.3 USDC, and closes it "
                "around the new price. Each further 5 % lose about 18 USDC more; set stop_loss",
                id="a range that follows a falling price",
            ),
            pytest.param(spot_at(), {"auto_borrow": True}, "nothing is ever borrowed", id="borrowing"),
            pytest.param(spot_at(book=book(None, "126")), {}, "no two sides", id="one-sided book"),
            pytest.param(
                spot_at(terms=terms(spot_maker_bps="80")),
                {},
                "the interval 130 to 132 is 153.8 bps wide, and its two maker fees come to 160.0 bps",
                id="fees",
            ),
        ],
    )
    def test_what_may_surprise_is_said(self, when: Snapshot, given: dict[str, Any], message: str) -> None:
        found = grid.preflight(when, spot_params(**given))
        assert found.problems == ()
        assert any(message in warning for warning in found.warnings), found.warnings


class TestPerp:
    def test_a_grid_that_fits_has_nothing_to_say(self) -> None:
        assert perp_grid.preflight(perp_at(usdc="1000"), perp_params()) == Preflight()

    @pytest.mark.parametrize(
        ("when", "given", "message"),
        [
            pytest.param(
                perp_at(), {"order_quantity": "0.001"}, "raise strategy_config.order_quantity", id="small"
            ),
            pytest.param(
                perp_at(),
                {"max_position": "0.4"},
                "one order of 0.5 is above max_position 0.4",
                id="one order too large",
            ),
            pytest.param(
                perp_at(net="-1"), {"grid_type": "long"}, "close that position first", id="opposite position"
            ),
        ],
    )
    def test_what_cannot_work_keeps_it_from_starting(
        self, when: Snapshot, given: dict[str, Any], message: str
    ) -> None:
        found = perp_grid.preflight(when, perp_params(**given))
        assert len(found.problems) == 1
        assert message in found.problems[0]

    @pytest.mark.parametrize(
        ("when", "given", "message"),
        [
            pytest.param(
                perp_at(),
                {"max_position": "1.2", "grid_type": "long"},
                "6 intervals of 0.5 can come to a position of 3, above max_position 1.2: at most 2 of them "
                "are open at once, the 4 farthest from the price wait",
                id="worst case above the cap",
            ),
            pytest.param(
                perp_at(net="2"),
                {},
                "stop_loss, take_profit and emergency_close do not cover it. Set "
                '"exclusive_symbol": true to have the grid adopt it',
                id="position found",
            ),
            pytest.param(
                perp_at(net="2", exclusive_symbol=True),
                {},
                "already holds a position of 2: it counts towards max_position, and the grid adopts it",
                id="position adopted",
            ),
            pytest.param(
                perp_at(exclusive_symbol=True, position=position("2", entry="136")),
                {"stop_loss": 15},
                "the first decision closes it: stop_loss 15 reached: unrealised profit -19.4 USDC",
                id="position adopted below the stop-loss",
            ),
            pytest.param(
                perp_at(),
                {"boundary_action": "adjust_range", "grid_type": "short", "max_position": 2},
                "at 132 a full grid is short 2 SOL from 128.15 on average, a loss of 7.7 USDC",
                id="a range that follows a rising price",
            ),
            pytest.param(perp_at(), {}, "has no USDC as margin", id="no margin"),
            pytest.param(
                perp_at(usdc="50"),
                {"grid_type": "long"},
                "a full grid holds 375 USDC on a balance of 50: it needs a leverage of 7.5",
                id="leverage",
            ),
            pytest.param(
                perp_at(usdc="50", terms=terms(leverage_limit="5")),
                {"grid_type": "long"},
                "a leverage of 7.5, above the account's limit of 5",
                id="too much leverage",
            ),
            pytest.param(perp_at("140"), {}, "ends the run at its first decision", id="outside"),
            pytest.param(
                perp_at("131.9"),
                {"grid_type": "long"},
                "at the upper end of the range 120 to 132: a move of 0.18 % ends the run",
                id="a one-sided range that is given ends at the price",
            ),
            pytest.param(
                perp_at("100", net="1", exclusive_symbol=True),
                {**AUTOMATIC, "grid_type": "long"},
                "at the upper end of the range 95 to 100: a move of 0.10 % ends the run",
                id="a one-sided automatic range ends at the price of what is held",
            ),
            pytest.param(perp_at(book=book("126", None)), {}, "no two sides", id="one-sided book"),
        ],
    )
    def test_what_may_surprise_is_said(self, when: Snapshot, given: dict[str, Any], message: str) -> None:
        found = perp_grid.preflight(when, perp_params(**given))
        assert found.problems == ()
        assert any(message in warning for warning in found.warnings), found.warnings

    @pytest.mark.parametrize("grid_type", ["long", "short"])
    def test_a_one_sided_automatic_range_has_no_end_where_it_waits(self, grid_type: str) -> None:
        given = perp_params(**AUTOMATIC, grid_type=grid_type)
        assert perp_grid.preflight(perp_at("100", usdc="1000"), given) == Preflight()
