"""What a stop has come to, put together from events, and how a terminal shows it."""

from __future__ import annotations

import io

from rich.console import Console

from cli.output import Output, clock, iso
from cli.progress_display import LiveDisplay
from runner.stop_progress import Ending, StopProgress
from state.events import Event


def event(kind: str, *, epoch: int = 3, at_ms: int = 1_000, **fields: str) -> Event:
    return Event(
        stream_id=f"{at_ms}-0", event=kind, instance_id="a1", epoch=epoch, at_ms=at_ms, fields=fields
    )


def progress() -> StopProgress:
    return StopProgress(instance_id="a1", epoch=3, requested_at_ms=1_000)


def test_times_count_from_the_request() -> None:
    stop = progress()
    stop.take(event("stop_requested", at_ms=2_000, by="me"))

    seen = stop.take(event("cleanup_claimed", at_ms=2_150, attempt="1", by="w"))

    assert seen is not None
    assert (seen.after_ms, seen.detail) == (150, "attempt 1, w")
    assert stop.is_claimed


def test_events_of_an_earlier_run_mean_nothing() -> None:
    stop = progress()

    assert stop.take(event("finished", epoch=2, result="stopped")) is None
    assert not stop.is_over


def test_only_stopped_is_an_end() -> None:
    stop = progress()

    stop.take(event("finished", result="retry"))
    stop.take(event("finished", result="failed"))
    assert (stop.is_over, stop.unclean_attempts) == (False, 2)

    stop.take(event("finished", result="stopped", at_ms=5_000))
    assert (stop.ending, stop.finished_at_ms) == (Ending.CLEAN, 5_000)


def test_a_later_run_ends_the_interest() -> None:
    stop = progress()

    stop.take(event("started", epoch=4, by="somebody"))

    assert stop.ending is Ending.SUPERSEDED


def test_a_step_of_a_newer_version_is_shown_by_its_name() -> None:
    seen = progress().take(event("cleanup_step", step="swept_the_floor"))

    assert seen is not None
    assert seen.phase == "swept_the_floor"


def test_a_terminal_gets_every_phase_in_a_table() -> None:
    shown = io.StringIO()
    stop = progress()
    console = Console(file=shown, force_terminal=True, width=100)
    with LiveDisplay(console, [stop]) as display:
        for one in (
            event("stop_requested", by="me [bold]"),
            event("finished", result="stopped", at_ms=1_042),
        ):
            phase = stop.take(one)
            assert phase is not None
            display.seen(stop, phase)

    assert "by me [bold]" in shown.getvalue()
    assert "+0.042 s" in shown.getvalue()
    assert "\x1b[" in shown.getvalue()


def test_colours_need_a_terminal_that_wants_them() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert Output().painted("x", "bad", Terminal()) != "x"
    assert Output(no_color="1").painted("x", "bad", Terminal()) == "x"
    assert Output().painted("x", "bad", io.StringIO()) == "x"


def test_moments_are_exact_to_the_millisecond() -> None:
    assert iso(1_767_571_200_007) == "2026-01-05T00:00:00.007Z"
    assert clock(1_767_571_200_007) == "00:00:00.007Z"
    assert iso(None) is None
