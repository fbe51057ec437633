"""Who is told of a silence, and when."""

from __future__ import annotations

from dataclasses import replace

from feed.silence import Silence
from feed.watched import WatchedInstance
from tests.unit.feed.feed_bench import watched

PATIENT = watched(max_silence_s=3.0).instances[0]
OTHER = replace(PATIENT, instance_id="other", max_silence_s=5.0)


def begun(silence: Silence, now_s: float, *instances: WatchedInstance) -> tuple[str, ...]:
    return silence.begun(instances or (PATIENT, OTHER), now_s)


def silence() -> Silence:
    found = Silence()
    found.watch([PATIENT.symbol], 100.0)
    return found


def test_each_instance_is_told_at_its_own_limit_and_once() -> None:
    quiet = silence()
    assert begun(quiet, 103.0) == ()
    assert begun(quiet, 103.1) == ("mm_01",)
    assert begun(quiet, 104.0) == ()
    assert begun(quiet, 105.1) == ("other",)


def test_a_message_ends_the_silence_for_those_who_were_told() -> None:
    quiet = silence()
    assert quiet.heard(PATIENT.symbol, 102.0) == ()
    assert begun(quiet, 105.5) == ("mm_01",)
    assert quiet.heard(PATIENT.symbol, 106.0) == ("mm_01",)
    assert quiet.heard(PATIENT.symbol, 106.1) == ()
    assert begun(quiet, 109.2) == ("mm_01",)


def test_a_message_about_another_symbol_ends_nothing() -> None:
    quiet = silence()
    begun(quiet, 104.0)
    assert quiet.heard("ETH_USDC", 104.5) == ()
    assert begun(quiet, 105.5) == ("other",)


def test_who_does_not_mind_or_does_not_run_is_not_told() -> None:
    quiet = silence()
    assert begun(quiet, 200.0, replace(PATIENT, max_silence_s=None), replace(PATIENT, is_running=False)) == ()


def test_a_symbol_watched_anew_counts_as_heard_and_one_that_stays_does_not() -> None:
    quiet = silence()
    quiet.watch([PATIENT.symbol, "ETH_USDC"], 102.0)
    late = replace(PATIENT, instance_id="eth", symbol="ETH_USDC")
    assert begun(quiet, 104.0, PATIENT, late) == ("mm_01",)
    assert begun(quiet, 105.1, PATIENT, late) == ("eth",)


def test_a_limit_below_the_beat_of_the_stream_is_no_reason_to_wake_all_the_time() -> None:
    quiet = silence()
    hasty = replace(PATIENT, max_silence_s=0.5)
    assert begun(quiet, 101.5, hasty) == ()
    assert begun(quiet, 102.1, hasty) == ("mm_01",)
