"""What holds for the hedge whatever fills, lags and dies."""

from __future__ import annotations

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st

from market.orders import Side
from strategies.maker_hedge_params import PerpParams, SpotParams
from tests.unit.strategies.hedge_exchange import Step, World
from tests.unit.strategies.hedge_values import perp_params, spot_params

#: Mostly nothing, often everything, sometimes a part.
TENTHS = st.sampled_from([0, 0, 0, 3, 7, 10, 10])
PARTS = st.tuples(TENTHS, TENTHS)
STEPS = st.builds(
    Step,
    bid_ticks=st.integers(-3, 3),
    spread_ticks=st.integers(1, 5),
    before=PARTS,
    during=PARTS,
    after=PARTS,
    hedge=st.sampled_from([0, 2, 5, 10, 10, 10]),
    history_lag=st.sampled_from([0, 0, 0, 1, 2]),
    position_lag=st.sampled_from([0, 0, 1, 2, 3]),
    killed=st.sampled_from(["", "", "", "start", "cancels", "hedge", "end"]),
)
STORIES = st.lists(STEPS, min_size=1, max_size=16)

#: Iterations until every lag has ended, also that of a run whose first decision was not saved.
QUIET = 20


@st.composite
def spot_parameters(draw: st.DrawFn) -> SpotParams:
    return spot_params(
        quantity=draw(st.sampled_from(["0.1", "1", None])),
        max_unhedged=draw(st.sampled_from([None, "1"])),
        hedge_tolerance=draw(st.sampled_from([None, "0.2"])),
    )


@st.composite
def perp_parameters(draw: st.DrawFn) -> PerpParams:
    return perp_params(
        quantity=draw(st.sampled_from(["0.1", "1", None])),
        max_position=draw(st.sampled_from(["0.5", "3"])),
        hedge_tolerance=draw(st.sampled_from([None, "0.2"])),
        reference_position=draw(st.sampled_from([None, "0", "-0.4"])),
    )


WORLDS = st.one_of(
    st.builds(World, params=spot_parameters()),
    st.builds(World, params=perp_parameters()),
    st.builds(World, params=perp_parameters(), position_at_start=st.sampled_from([D("0.3"), D("-0.5")])),
)


def settle(world: World) -> None:
    for _ in range(QUIET):
        world.run(Step())


@settings(max_examples=40, deadline=None)
@given(world=WORLDS, story=STORIES)
def test_once_all_faults_end_the_run_is_back_at_its_reference_and_quotes_both_sides(
    world: World, story: list[Step]
) -> None:
    for step in story:
        world.run(step)
    settle(world)
    assert world.is_within_tolerance
    assert world.orders
    if world.has_room_on_both_sides:
        assert {own.order.side for own in world.orders} == set(Side)
    assert (world.state.attempts, world.state.dispute) == (0, None)


@settings(max_examples=40, deadline=None)
@given(world=WORLDS, story=STORIES)
def test_a_stop_at_any_moment_leaves_the_run_at_its_reference(world: World, story: list[Step]) -> None:
    for step in story:
        world.run(step)
    for _ in range(3):
        # The cleanup waits for fills to come; nothing is sent meanwhile.
        world.run(Step(killed="start"))
    if world.state.reference is None:
        # It never saved a decision, so it never set out for a reference other than where it began.
        world.params = world.params.model_copy(update={"reference_position": None})
    world.unwind()
    assert world.is_within_tolerance
    assert world.unwind() == 0


@settings(max_examples=40, deadline=None)
@given(
    params=perp_parameters(),
    start=st.sampled_from([D(0), D("0.3"), D("-0.5")]),
    story=STORIES,
)
def test_the_run_is_never_further_from_its_reference_than_the_cap(
    params: PerpParams, start: D, story: list[Step]
) -> None:
    world = World(params=params, position_at_start=start)
    furthest_allowed = max(params.max_position, abs(world.difference))
    for step in story:
        world.run(step)
    assert world.furthest <= furthest_allowed


@settings(max_examples=40, deadline=None)
@given(story=STORIES)
def test_on_spot_the_cap_holds_where_it_is_set(story: list[Step]) -> None:
    world = World(params=spot_params(quantity="1", max_unhedged="0.6"))
    for step in story:
        world.run(step)
    assert world.furthest <= D("0.6")


@settings(max_examples=40, deadline=None)
@given(story=STORIES, moved=st.sampled_from([D(-5), D("-0.3"), D("0.05"), D("0.3"), D(5)]))
def test_a_position_that_others_move_is_not_made_larger_and_the_run_ends(story: list[Step], moved: D) -> None:
    world = World(params=perp_params(reference_position="0"))
    for step in story:
        world.run(step)
    settle(world)
    world.run(Step(after=(10, 0)))
    world.moved = moved
    for _ in range(QUIET):
        before = abs(world.position)
        decision = world.run(Step())
        assert abs(world.position) <= before
        if decision.stop_reason is not None:
            break
    assert decision.stop_reason is not None
    assert not decision.unwind
    assert world.unwind() == 0
