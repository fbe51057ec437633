"""A record as it stands in Redis, and as it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from state.record import RECORD_FIELDS, UNKNOWN_LEFT, Phase, Record, RecordUnreadable, record_of

FULL = {
    "phase": "stopping",
    "epoch": "1",
    "tick": "2",
    "seq": "3",
    "due": "4",
    "started_at": "5",
    "committed_at": "6",
    "stop_requested_at": "7",
    "stopped_at": "8",
    "stop_by": "me",
    "stop_reason": "tea",
    "errors": "9",
    "last_error": "oh",
    "slot": "10",
    "account": "acc",
    "config_version": "v",
    "attempts": "11",
    "outcome": "{}",
    "lease_until": "12",
    "fence": "13",
    "left": "a,b",
    "cleanup_until": "14",
    "paused": "15",
    "paused_by": "her",
    "pause_reason": "rest",
    "withdrawn": "-16",
    "restart": "mark",
}
EMPTY = Record(
    instance_id="mm",
    phase=Phase.STOPPED,
    epoch=0,
    tick=0,
    seq=0,
    due_at_ms=None,
    started_at_ms=None,
    committed_at_ms=None,
    stop_requested_at_ms=None,
    stopped_at_ms=None,
    stop_by="",
    stop_reason="",
    errors=0,
    last_error="",
    slot=0,
    account="",
    config_version="",
    attempts=0,
    outcome="",
    lease_until_ms=0,
    fence_ms=0,
    left=UNKNOWN_LEFT,
    cleanup_until_ms=0,
)


def read(**fields: str) -> Record | None:
    """Read a record of which these fields are there."""
    return record_of("mm", [fields.get(name) for name in RECORD_FIELDS])


def test_everything_is_read_from_its_own_field() -> None:
    assert set(FULL) == set(RECORD_FIELDS)
    assert read(**FULL) == Record(
        instance_id="mm",
        phase=Phase.STOPPING,
        epoch=1,
        tick=2,
        seq=3,
        due_at_ms=4,
        started_at_ms=5,
        committed_at_ms=6,
        stop_requested_at_ms=7,
        stopped_at_ms=8,
        stop_by="me",
        stop_reason="tea",
        errors=9,
        last_error="oh",
        slot=10,
        account="acc",
        config_version="v",
        attempts=11,
        outcome="{}",
        lease_until_ms=12,
        fence_ms=13,
        left="a,b",
        cleanup_until_ms=14,
        paused_at_ms=15,
        paused_by="her",
        pause_reason="rest",
        withdrawn_at_ms=-16,
        restart="mark",
    )


def test_what_is_not_there_is_as_before_the_first_run() -> None:
    assert read() is None
    assert read(account="") == EMPTY
    assert read(phase="failed") == replace(EMPTY, phase=Phase.FAILED)


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_is_known_by_its_name(phase: Phase) -> None:
    assert read(phase=str(phase)) == replace(EMPTY, phase=phase)
    assert str(phase) == phase.name.lower()


def test_a_phase_of_another_version_is_named_but_not_at_length() -> None:
    with pytest.raises(RecordUnreadable) as caught:
        read(phase="x" * 60)
    assert f"phase is '{'x' * 40}', none" in str(caught.value)
    assert "manage.py cleanup mm" in str(caught.value)


@pytest.mark.parametrize("text", ["x", "", "1.5", "1" * 19, " 1", "\uff11"])
def test_what_should_be_a_number_and_is_none_is_named(text: str) -> None:
    with pytest.raises(RecordUnreadable, match="fence is"):
        read(fence=text)


def test_it_is_not_named_at_length_either() -> None:
    with pytest.raises(RecordUnreadable) as caught:
        read(due="y" * 60)
    assert f"due is '{'y' * 40}', no whole" in str(caught.value)


def test_there_are_as_many_values_as_fields() -> None:
    with pytest.raises(ValueError, match="zip"):
        record_of("mm", ["running"])


@pytest.mark.parametrize(
    ("phase", "paused_at_ms", "is_paused"),
    [
        (Phase.RUNNING, 5, True),
        (Phase.RUNNING, None, False),
        (Phase.STOPPED, 5, False),
        (Phase.STOPPING, None, False),
    ],
)
def test_only_a_run_that_goes_on_is_paused(phase: Phase, paused_at_ms: int | None, is_paused: bool) -> None:
    assert replace(EMPTY, phase=phase, paused_at_ms=paused_at_ms).is_paused is is_paused
