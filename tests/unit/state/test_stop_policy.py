"""What a stop does, as it is written down and read back."""

from __future__ import annotations

import json

import pytest

from state.stop_policy import StopPolicy


def test_without_a_word_orders_are_cancelled_and_nothing_else() -> None:
    assert json.loads(StopPolicy().to_json()) == {
        "cancel_orders": True,
        "close_position": False,
        "unwind": False,
    }
    assert StopPolicy.from_json("") == StopPolicy()


@pytest.mark.parametrize(
    "policy", [StopPolicy(unwind=True), StopPolicy(cancel_orders=False, close_position=True)]
)
def test_what_is_written_is_read(policy: StopPolicy) -> None:
    assert StopPolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "text",
    [
        *("{", "7", "[" * 100_000, '{"unheard_of":true}', '{"cancel_orders":"no","unwind":true}'),
        *('{"cancel_orders":false,"unwind":1}', "null"),
    ],
)
def test_one_that_is_damaged_cancels(text: str) -> None:
    assert StopPolicy.from_json(text) == StopPolicy()
