"""When an instance counts as silent: by what was watched, and never sooner."""

from __future__ import annotations

import pytest

from guard.silence import Vigil
from state.heartbeats import Reading
from state.queues import iterate_queue
from state.record import Phase
from tests.factories import ACCOUNT
from tests.unit.guard.guard_bench import AFTER_S, NAME, NOW_MS, beat, reading

START_S = 1_000.0


def vigil_of(*readings: Reading, every_s: float = 10.0) -> tuple[Vigil, float]:
    """Return a vigil that took in readings in equal steps, and the time of the last."""
    vigil, now_s = Vigil(AFTER_S), START_S - every_s
    for each in readings:
        now_s += every_s
        vigil.observe(each, [NAME], now_s)
    return vigil, now_s


def later(seconds: float, **pulse: int) -> Reading:
    """Return a reading of some seconds later, in which workers live and the instance is overdue."""
    return reading(beat(pulse), now_ms=NOW_MS + int(seconds * 1000))


def test_an_overdue_instance_whose_pulse_stands_still_is_silent_after_the_time_and_not_before() -> None:
    vigil, now_s = vigil_of(later(0), later(10), later(20))
    assert vigil.silent(START_S + AFTER_S - 0.1) == {}
    assert vigil.silent(START_S + AFTER_S)[NAME].why == "no sign of life for 30 s"
    assert now_s == START_S + 20


@pytest.mark.parametrize(
    "sign",
    [
        {"seq": 6},
        {"committed_at_ms": NOW_MS + 1},
        {"lease_until_ms": NOW_MS + 1},
        {"cleanup_until_ms": NOW_MS + 1},
        {"attempts": 1},
        {"epoch": 2},
    ],
)
def test_any_work_is_a_sign_of_life(sign: dict[str, int]) -> None:
    vigil, now_s = vigil_of(later(0), later(10), later(20, **sign))
    assert vigil.silent(now_s + AFTER_S - 0.1) == {}
    assert NAME in vigil.silent(now_s + AFTER_S)


def test_asking_for_a_stop_is_no_sign_of_life() -> None:
    tried = reading(beat({"attempts": 4}, phase=Phase.FAILED))
    asked_anew = reading(beat({"attempts": 0}, phase=Phase.STOPPING))
    vigil, _ = vigil_of(tried, asked_anew)
    assert NAME in vigil.silent(START_S + AFTER_S)


def test_a_long_interval_is_no_silence_while_workers_live() -> None:
    waits = [reading(beat(due_at_ms=NOW_MS + 3_600_000), now_ms=NOW_MS + step * 10_000) for step in range(20)]
    vigil, now_s = vigil_of(*waits)
    assert vigil.silent(now_s) == {}


def test_a_long_interval_without_workers_is_silence() -> None:
    dead = {"iterate": NOW_MS, "cleanup": NOW_MS}
    waits = [
        reading(beat(due_at_ms=NOW_MS + 3_600_000), now_ms=NOW_MS + step * 10_000, workers=dead)
        for step in range(5)
    ]
    vigil, now_s = vigil_of(*waits)
    assert vigil.silent(now_s)[NAME].why == "no worker for queue iterate for 40 s"


@pytest.mark.parametrize(("queue", "is_silent"), [("iterate.2of2", False), ("iterate.1of2", True)])
def test_where_iterations_are_divided_only_workers_of_the_own_part_count(queue: str, is_silent: bool) -> None:
    beating = [
        {"iterate.1of2": NOW_MS, "iterate.2of2": NOW_MS, "cleanup": NOW_MS, queue: NOW_MS + step}
        for step in range(5)
    ]
    waits = [
        reading(beat(due_at_ms=NOW_MS + 3_600_000), now_ms=NOW_MS + step * 10_000, workers=workers)
        for step, workers in enumerate(beating)
    ]
    vigil, now_s = vigil_of(*waits)
    assert iterate_queue(ACCOUNT, 2) == "iterate.2of2"
    assert (NAME in vigil.silent(now_s)) is is_silent


def test_a_worker_that_took_itself_off_the_list_does_not_beat() -> None:
    gone = [reading(beat(due_at_ms=NOW_MS + 3_600_000), workers={}) for _ in range(4)]
    vigil, _ = vigil_of(reading(beat(due_at_ms=NOW_MS + 3_600_000)), *gone)
    assert NAME in vigil.silent(START_S + AFTER_S)


def test_a_stop_needs_workers_of_the_queue_of_cleanups() -> None:
    only_iterate = [
        reading(beat(phase=Phase.STOPPING), now_ms=NOW_MS + step * 10_000, workers={"iterate": NOW_MS + step})
        for step in range(4)
    ]
    vigil, now_s = vigil_of(*only_iterate)
    assert NAME in vigil.silent(now_s)


def test_a_live_lease_of_an_iteration_or_a_cleanup_is_life() -> None:
    for lease in ({"lease_until_ms": NOW_MS + 600_000}, {"cleanup_until_ms": NOW_MS + 600_000}):
        vigil, now_s = vigil_of(*(later(step * 10, **lease) for step in range(10)))
        assert vigil.silent(now_s) == {}


def test_a_clock_of_the_state_server_that_jumps_makes_nobody_silent() -> None:
    vigil, now_s = vigil_of(later(0), later(3_600), every_s=1)
    assert vigil.silent(now_s) == {}


def test_a_guard_that_starts_beside_the_workers_waits_for_them() -> None:
    # Everything was down for an hour; the first reading shows that.
    vigil, now_s = vigil_of(later(3_600))
    assert vigil.silent(now_s + AFTER_S - 0.1) == {}


def test_a_state_server_out_of_reach_makes_all_silent_those_remembered_too() -> None:
    vigil = Vigil(AFTER_S)
    vigil.remember([NAME, "other"], START_S - 1_000)
    vigil.observe(later(0), [NAME], START_S)
    vigil.remember(["file_only"], START_S)
    for step in range(4):
        vigil.lost(START_S + 1 + step * 5)
    assert "file_only" not in vigil.silent(START_S + AFTER_S - 1)
    silent = vigil.silent(START_S + 1 + AFTER_S)
    assert set(silent) == {NAME, "other", "file_only"}
    assert silent[NAME].why == "state server out of reach for 30 s"


def test_an_outage_that_ended_in_time_is_forgiven_to_those_who_show_life() -> None:
    vigil, now_s = vigil_of(later(0))
    for step in range(6):
        vigil.lost(now_s + 1 + step * 5)
    vigil.observe(later(29, seq=6), [NAME], now_s + 29)
    assert vigil.lost_since_s is None
    assert vigil.silent(now_s + 29 + AFTER_S - 0.1) == {}


@pytest.mark.parametrize("lost", [False, True])
def test_a_guard_that_was_frozen_counts_nothing_of_that(lost: bool) -> None:
    vigil, now_s = vigil_of(later(0), later(10))
    if lost:
        vigil.lost(now_s + 1)
        vigil.lost(now_s + 600)
    else:
        vigil.observe(later(610), [NAME], now_s + 600)
    watched_before_s = 11 if lost else 10
    assert vigil.silent(now_s + 600 + AFTER_S - watched_before_s - 0.1) == {}
    assert NAME in vigil.silent(now_s + 600 + AFTER_S - watched_before_s)


def test_a_record_that_has_vanished_shows_no_life() -> None:
    vigil, _ = vigil_of(later(0), reading(), reading(), reading())
    assert vigil.silent(START_S + AFTER_S)[NAME].why.startswith("record missing or damaged")


def test_who_is_not_watched_any_more_is_not_silent() -> None:
    vigil, now_s = vigil_of(later(0))
    vigil.forget_all_but([])
    assert vigil.silent(now_s + 1_000) == {}


def test_a_sign_of_life_right_before_a_guard_froze_still_counts_after_it() -> None:
    vigil, now_s = vigil_of(later(0), later(10, seq=6))
    vigil.observe(later(610, seq=6), [NAME], now_s + 600)
    assert vigil.silent(now_s + 600 + AFTER_S - 0.1) == {}
    assert NAME in vigil.silent(now_s + 600 + AFTER_S)
