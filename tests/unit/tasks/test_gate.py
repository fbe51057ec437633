"""No message but our own passes: by its form, by its headers, by its arguments."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel, Message

from tasks.arguments import ARGUMENTS, LARGEST_NUMBER, problem_of_arguments
from tasks.cleanup import cleanup
from tasks.envelope import LONGEST_TASK_MESSAGE, problem_of_envelope
from tasks.gate import problem_of_message
from tasks.iteration import iterate
from tasks.refusing import QUIET_S, Refusals
from tests.raw_messages import bad_messages, message

JSON_ONLY = frozenset({"application/json"})
BAD = list(bad_messages())


class _Channel(Channel):
    """Decodes bodies as a real one does, and is connected to nothing."""

    no_ack_consumers = None

    def __init__(self) -> None:
        self.codecs = Channel.codecs


def judged(raw: bytes) -> str | None:
    """Return why a raw message is refused, by either look."""
    reason = problem_of_envelope(raw, LONGEST_TASK_MESSAGE)
    if reason is not None:
        return reason
    found = Message(json.loads(raw), channel=_Channel())  # type: ignore[no-untyped-call]
    found.accept = JSON_ONLY
    return problem_of_message(found, JSON_ONLY)


@pytest.mark.parametrize(("reason", "raw"), [pytest.param(why, raw, id=name) for name, why, raw in BAD])
def test_a_bad_message_is_refused_for_its_reason(reason: str, raw: bytes) -> None:
    assert judged(raw) == reason


@pytest.mark.parametrize(
    ("task", "args"),
    [
        ("tasks.iterate", ["bp_sol_01", 1, 0]),
        ("tasks.iterate", ["bp_sol_01", LARGEST_NUMBER, None]),
        ("tasks.cleanup", ["A-9", 0]),
    ],
)
def test_our_own_messages_pass(task: str, args: list[Any]) -> None:
    assert judged(json.dumps(message(task, args)).encode()) is None


#: Anything that JSON can say.
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(task=st.sampled_from(sorted(ARGUMENTS)), args=values, kwargs=values)
def test_arguments_of_any_form_are_judged_and_never_raise(task: str, args: Any, kwargs: Any) -> None:
    if problem_of_arguments(task, args, kwargs) is None:
        instance, *numbers = args
        assert instance.replace("_", "").replace("-", "").isalnum()
        assert instance.isascii()
        assert all(number is None or 0 <= number <= LARGEST_NUMBER for number in numbers)


@given(
    field=st.sampled_from(["headers", "properties", "body", "content-type", "content-encoding"]), value=values
)
def test_a_message_with_any_value_in_a_field_never_raises(field: str, value: Any) -> None:
    judged(json.dumps(message() | {field: value}).encode())


@given(
    name=st.sampled_from(
        ["task", "id", "eta", "expires", "timelimit", "retries", "group", "stamps", "shadow"]
    ),
    value=values,
)
def test_a_message_with_any_header_never_raises(name: str, value: Any) -> None:
    judged(json.dumps(message(headers={name: value})).encode())


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_never_raise(raw: bytes) -> None:
    assert problem_of_envelope(raw, LONGEST_TASK_MESSAGE) is not None


def test_a_task_called_past_the_gate_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        pytest.fail("the task ran")

    noted: list[str] = []
    monkeypatch.setattr("tasks.strict.REFUSALS", SimpleNamespace(note=lambda reason, _: noted.append(reason)))
    monkeypatch.setattr("tasks.iteration.run_iteration", fail)
    monkeypatch.setattr("tasks.cleanup.run_cleanup", fail)
    assert iterate("../x", 1, 0) is None
    assert cleanup("bp_sol_01", "1") is None
    assert cleanup.apply(args=["bp_sol_01", -1]).successful()
    assert noted == ["arguments"] * 3


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_each_refusal_is_counted_and_few_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("tasks.refusing.log", _Log(told))
    counted: list[dict[str, int]] = []
    monkeypatch.setattr("tasks.refusing.count_refusals", lambda _, counts: counted.append(dict(counts)))
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(50):
        refusals.note("envelope", b"x" * 10_000_000)
    refusals.note("arguments", "y")
    clock.now_s = QUIET_S
    refusals.note("envelope", b"z")
    refusals.flush(None)  # type: ignore[arg-type]
    refusals.flush(None)  # type: ignore[arg-type]
    assert counted == [{"envelope": 51, "arguments": 1}]
    assert [(line["reason"], line["more_untold"]) for line in told] == [
        ("envelope", 0),
        ("arguments", 0),
        ("envelope", 49),
    ]
    assert max(len(line["message"]) for line in told) < 200


def test_what_cannot_be_counted_now_is_counted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr("tasks.refusing.count_refusals", fail)
    refusals = Refusals()
    refusals.note("eta", "x")
    with pytest.raises(redis.ConnectionError):
        refusals.flush(None)  # type: ignore[arg-type]
    counted: list[dict[str, int]] = []
    monkeypatch.setattr("tasks.refusing.count_refusals", lambda _, counts: counted.append(dict(counts)))
    refusals.flush(None)  # type: ignore[arg-type]
    assert counted == [{"eta": 1}]


class _Log:
    def __init__(self, told: list[dict[str, Any]]) -> None:
        self._told = told

    def warning(self, _: str, **fields: Any) -> None:
        """Take a line."""
        self._told.append(fields)
