"""When a hedge may not begin, when it ends, and what may be set."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from pydantic import ValidationError

from market.instrument import MarketType
from market.orders import Role, Side
from market.position import Balance, Position
from market.snapshot import Snapshot
from market.terms import AccountTerms
from strategies.base import Preflight
from strategies.maker_hedge import PERP_STRATEGY, SPOT_STRATEGY
from strategies.maker_hedge_checks import preflight
from strategies.maker_hedge_params import PerpParams, SpotParams
from strategies.maker_hedge_state import Dispute, State
from tests.unit.strategies.hedge_values import (
    having_traded,
    on_perp,
    perp,
    perp_params,
    spot,
    spot_params,
)
from tests.unit.strategies.market_values import NOW_MS, book

BUY, SELL = Side.BUY, Side.SELL
QUOTE, HEDGE = Role.QUOTE, Role.HEDGE


def exclusive(of: Snapshot) -> Snapshot:
    """Return the snapshot of an account on which nothing else trades the symbol."""
    return replace(of, exclusive_symbol=True)


def having(of: Snapshot, available: str) -> Snapshot:
    """Return the snapshot with so many USDC and a leverage limit of 3."""
    return replace(
        of,
        balances={"USDC": Balance(asset="USDC", available=D(available), locked=D(0))},
        terms=AccountTerms(
            spot_maker_bps=D(8),
            spot_taker_bps=D(10),
            perp_maker_bps=D(2),
            perp_taker_bps=D(5),
            leverage_limit=D(3),
        ),
    )


class TestProfit:
    def losing(self, by: str) -> Snapshot:
        of = perp()
        return replace(of, profit=replace(of.profit, realized=-D(by)))

    @pytest.mark.parametrize("stop_loss", ["25", "-25"])
    def test_a_loss_ends_the_run_with_a_final_hedge(self, stop_loss: str) -> None:
        decision = on_perp(self.losing("25"), stop_loss=stop_loss)
        assert (decision.unwind, decision.is_loss) == (True, True)
        assert decision.stop_reason == "stop_loss: the run has lost 25.0000, the limit is 25"
        assert on_perp(self.losing("24.99"), stop_loss=stop_loss).stop_reason is None

    def test_a_profit_ends_the_run_with_a_final_hedge(self) -> None:
        decision = on_perp(self.losing("-10"), take_profit="10")
        assert (decision.unwind, decision.is_loss) == (True, False)
        assert decision.stop_reason == "take_profit: the run has made 10.0000, the goal is 10"

    def test_what_is_not_closed_and_fees_count(self) -> None:
        of = having_traded(perp(position="1"), [(QUOTE, "1")])
        of = replace(
            of,
            profit=replace(of.profit, fees=D(3)),
            position=Position(symbol="S", net_quantity=D(1), mark_price=D(143)),
        )
        assert on_perp(of, stop_loss="10").stop_reason is not None

    def test_without_a_price_nobody_knows(self) -> None:
        of = replace(self.losing("25"), book=book(None, "150"))
        assert on_perp(of, stop_loss="25").stop_reason is None


class TestPreflight:
    @pytest.mark.parametrize(
        ("params", "of", "expected"),
        [
            pytest.param(
                spot_params(quantity="0.005"), spot(), "raise strategy_config.quantity", id="quantity"
            ),
            pytest.param(
                spot_params(max_unhedged="0.005"), spot(), "max_unhedged 0.005 is below", id="spot cap"
            ),
            pytest.param(
                perp_params(max_position="0.005", quantity=None), perp(), "max_position 0.005", id="cap"
            ),
            pytest.param(spot_params(), spot(base="0", quote="1"), "neither SOL nor USDC", id="poor"),
            pytest.param(spot_params(), spot(base=None, quote=None), "not known", id="no balances"),
            pytest.param(
                perp_params(), perp(position="-3.5"), "is -3.5 already, above max_position 3", id="position"
            ),
            pytest.param(
                perp_params(reference_position="0"),
                perp(position="0.5"),
                '"exclusive_symbol": true',
                id="reference where others may hold it",
            ),
            pytest.param(
                perp_params(),
                having(perp(), "49.99"),
                "one order of 1 at 150.00 is worth 150.00, but the 49.99 USDC available carry 149.97",
                id="margin",
            ),
            pytest.param(
                perp_params(quantity=None, max_position="40"),
                having(perp(), "400"),
                "one order of 10.00 at 150.00",
                id="margin of an automatic size",
            ),
        ],
    )
    def test_what_cannot_work_is_a_problem(
        self, params: SpotParams | PerpParams, of: Snapshot, expected: str
    ) -> None:
        problems = preflight(of, params).problems
        assert len(problems) == 1
        assert expected in problems[0]

    @pytest.mark.parametrize(
        ("params", "of", "expected"),
        [
            pytest.param(perp_params(quantity="4"), perp(), "quotes are cut", id="cut"),
            pytest.param(spot_params(), spot(base="0"), "only the bid is quoted", id="no coins"),
            pytest.param(spot_params(), spot(quote="1"), "only the ask is quoted", id="no cash"),
            pytest.param(
                perp_params(reference_position="1"),
                exclusive(perp(position="0.5")),
                "hedge buys 0.5",
                id="reference",
            ),
            pytest.param(perp_params(), having(perp(), "0"), "no USDC is available", id="no margin"),
        ],
    )
    def test_what_may_surprise_is_a_warning(
        self, params: SpotParams | PerpParams, of: Snapshot, expected: str
    ) -> None:
        found = preflight(of, params)
        assert found.problems == ()
        assert len(found.warnings) == 1
        assert expected in found.warnings[0]

    def test_what_is_in_order_is_not_talked_about(self) -> None:
        for found in (preflight(spot(), spot_params()), preflight(perp(), perp_params())):
            assert (found.problems, found.warnings) == ((), ())
        assert preflight(having(perp(), "50"), perp_params()) == Preflight()
        assert preflight(perp(position="0.005"), perp_params(reference_position="0")) == Preflight()
        shared = preflight(perp(position="50"), perp_params(position_source="own_fills"))
        assert shared.problems == ()


class TestParams:
    def test_keys_of_the_old_program_are_taken_or_let_pass(self) -> None:
        old = {
            "spread": 0.1,
            "quantity": 0.5,
            "max_orders": 3,
            "target_position": 1.0,
            "max_position": 2.0,
            "position_threshold": 0.1,
            "inventory_skew": 0.3,
            "stop_loss": -25,
            "take_profit": 50,
            "leverage": 5,
        }
        taken = {key: value for key, value in old.items() if key not in PerpParams.inert}
        assert taken.keys() == {"quantity", "max_position", "stop_loss", "take_profit"}
        perpetual = PerpParams.model_validate(taken)
        assert (perpetual.max_position, perpetual.stop_loss) == (D(2), D(-25))
        assert SpotParams.model_validate(taken).max_unhedged == D(2)
        assert SpotParams.inert == PerpParams.inert

    def test_a_bound_of_zero_is_none(self) -> None:
        assert perp_params(stop_loss=0, take_profit="0.0") == perp_params()
        assert spot_params(stop_loss="-0", take_profit=0) == spot_params()

    def test_nothing_has_to_be_set(self) -> None:
        assert PerpParams().quantity is None
        assert SpotParams().exposure_cap is None

    @pytest.mark.parametrize(
        ("given", "place"),
        [
            ({"quantity": 0}, ("quantity",)),
            ({"max_position": 0}, ("max_position",)),
            ({"hedge_tolerance": -1}, ("hedge_tolerance",)),
            ({"hedge_slippage_bps": 1001}, ("hedge_slippage_bps",)),
            ({"disagreement_limit_s": 0}, ("disagreement_limit_s",)),
            ({"position_source": "guess"}, ("position_source",)),
            ({"take_profit": -1}, ("take_profit",)),
            ({"max_unhedged": 1}, ("max_unhedged",)),
            ({"max_hedge_slippage_bps": 5}, ()),
            ({"reference_position": -4}, ()),
        ],
    )
    def test_values_that_make_no_sense_are_refused(
        self, given: dict[str, object], place: tuple[str, ...]
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            perp_params(**given)
        assert [error["loc"] for error in caught.value.errors()] == [place]

    @pytest.mark.parametrize("model", [SpotParams, PerpParams])
    def test_every_parameter_has_a_description(self, model: type[SpotParams | PerpParams]) -> None:
        assert all(field.description for field in model.model_fields.values())

    def test_parameters_and_state_survive_json(self) -> None:
        for params in (perp_params(reference_position="-0.1"), spot_params(max_unhedged="0.3")):
            assert type(params).model_validate_json(params.model_dump_json()) == params
        state = State(
            reference=D("-0.10"),
            position_at_start=D("1.123456789"),
            attempts=2,
            hedged_before=D("1.10"),
            awaited=D("3.3"),
            is_repeated=True,
            dispute=Dispute(since_ms=NOW_MS, own=D("1.1"), account=D("-0.1")),
        )
        text = state.model_dump_json()
        assert State.model_validate_json(text) == state
        assert State.model_validate_json(text).model_dump_json() == text


def test_both_markets_answer_to_the_same_name() -> None:
    for strategy, market_type in ((SPOT_STRATEGY, MarketType.SPOT), (PERP_STRATEGY, MarketType.PERP)):
        assert (strategy.title, strategy.config_name) == ("MakerTakerHedgeStrategy", "maker_hedge")
        assert strategy.market_types == {market_type}
        assert strategy.unwinds_at_stop
        assert strategy.summary
