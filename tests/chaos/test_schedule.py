"""The schedule: everything follows from the seed, and every class has its turn."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.catalogue import CLASSES, MIXED
from tests.chaos.schedule import Planned, schedule


def _plan(seed: int, *, count: int, names: tuple[str, ...] = (), mixed: bool = False) -> list[Planned]:
    return list(islice(schedule(seed, names=names, mixed=mixed), count))


def _told(plan: list[Planned]) -> list[str]:
    """Return everything that a plan decides, apart from what its faults draw when they begin."""
    return [
        f"{each.number} {each.row} {each.calm_s} " + "; ".join(f"{at_s} {vars(f)}" for at_s, f in each.faults)
        for each in plan
    ]


def _without_dice(plan: list[Planned]) -> list[str]:
    for each in plan:
        for _, fault in each.faults:
            vars(fault)["dice"] = fault.dice.getstate()
    return _told(plan)


def test_the_same_seed_gives_the_same_schedule() -> None:
    count = len(CLASSES) + 20
    assert _without_dice(_plan(7, count=count)) == _without_dice(_plan(7, count=count))


def test_another_seed_gives_another_one() -> None:
    assert _without_dice(_plan(7, count=20)) != _without_dice(_plan(8, count=20))


def test_every_class_has_its_turn_alone_before_they_are_mixed() -> None:
    plan = _plan(3, count=len(CLASSES) + 5)
    alone, mixed = plan[: len(CLASSES)], plan[len(CLASSES) :]
    assert sorted(each.row for each in alone) == sorted(CLASSES)
    assert {each.row for each in mixed} == {MIXED}
    assert all(2 <= len(each.faults) <= 4 for each in mixed)


def test_asked_for_classes_come_again_and_again_and_nothing_else() -> None:
    names = ("feed killed", "duplicates")
    assert {each.row for each in _plan(3, count=10, names=names)} == set(names)


def test_mixed_from_the_beginning() -> None:
    assert {each.row for each in _plan(3, count=10, mixed=True)} == {MIXED}


@pytest.mark.parametrize("full", [True, False])
def test_a_fault_at_full_length_is_at_least_as_long(full: bool) -> None:
    plan = list(islice(schedule(5, full=full), len(CLASSES)))
    longest = {each.row: each.faults[0][1].hold_s for each in plan}
    assert (longest["exchange: outage"], longest["server unreachable"]) == ((60, 20) if full else (21, 7))
