"""What events mean, held to what the strategies and scripts really write."""

from __future__ import annotations

import pytest

from alerts.kinds import Kind
from alerts.notices import Turn, notices_of
from alerts.phrases import Phrases
from state.events import Event
from state.stop_story import StopCause


def event(kind: str, **fields: str) -> Event:
    return Event(
        stream_id="5-0", event=kind, instance_id="bp_sol_01", epoch=3, at_ms=1_700_000_000_000, fields=fields
    )


def told(*events: Event, language: str = "en") -> list[tuple[Kind, Turn, str]]:
    found, phrases = notices_of(events), Phrases(language)
    return [(each.kind, each.turn, phrases.tell(each.text)) for each in found if each.turn is not Turn.VOID]


def test_a_stop_that_failed_begins_and_one_clean_at_last_ends() -> None:
    assert told(
        event("alert", alert="stop_failed", says="bp_sol_01: 2 orders left"),
        event("alert", alert="stop_clean_at_last", says="bp_sol_01: clean after 4 attempts"),
        event("alert", alert="state_damaged", says="bp_sol_01: phase is gone"),
        event("alert", alert="of another version", says="?"),
    ) == [
        (Kind.STOP_NOT_CLEAN, Turn.BEGINS, "2 orders left"),
        (Kind.STOP_NOT_CLEAN, Turn.ENDS, "clean after 4 attempts"),
        (Kind.INSTANCE_FAILED, Turn.ONCE, "phase is gone"),
    ]


def test_limits_that_cut_begin_and_end() -> None:
    assert told(
        event("limits", cuts='["a", "b"]'), event("limits", cuts="[]"), event("limits", cuts="{")
    ) == [
        (Kind.RISK_LIMIT, Turn.BEGINS, "a; b"),
        (Kind.RISK_LIMIT, Turn.ENDS, ""),
        (Kind.RISK_LIMIT, Turn.ENDS, ""),
    ]


def test_what_limits_cut_is_void_when_the_run_ends() -> None:
    (notice,) = notices_of([event("stop_requested", by="me@host", reason="lunch")])
    assert (notice.kind, notice.turn) == (Kind.RISK_LIMIT, Turn.VOID)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (StopCause.LOSS, Kind.LOSS_LIMIT),
        (StopCause.ERRORS, Kind.INSTANCE_FAILED),
        (StopCause.DURATION, Kind.RUN_ENDED),
        (StopCause.STRATEGY, Kind.RUN_ENDED),
        ("of another version", Kind.RUN_ENDED),
    ],
)
def test_a_run_that_stops_itself_says_why(cause: str, kind: Kind) -> None:
    assert told(event("stop_requested", by="strategy", reason="stop_loss", cause=cause)) == [
        (kind, Turn.ONCE, "the run stops itself: stop_loss")
    ]


def test_the_guard_says_how_many_it_cancelled() -> None:
    assert told(event("guard_acted", cancelled="1,2", why="no sign of life for 30 s")) == [
        (Kind.GUARD_ACTED, Turn.ONCE, "the guard cancelled 2 orders: no sign of life for 30 s")
    ]
