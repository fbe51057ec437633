"""What the task of an iteration passes on, and what it does where the broker is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.publisher import Iteration
from state.queues import ITERATE
from tasks import iteration

NEXT = Iteration(instance_id="mm", account="acc", epoch=2, tick=4, task_id="next", countdown_s=1.0)


class Broker:
    """Takes messages, or does not."""

    def __init__(self, *, is_away: bool) -> None:
        self.is_away = is_away
        self.taken: list[Iteration] = []
        self.given_back: list[tuple[str, str]] = []

    def publish_iteration(self, message: Iteration) -> None:
        """Take a message."""
        if self.is_away:
            raise ConnectionError("away")
        self.taken.append(message)

    def not_sent(self, instance_id: str, task_id: str) -> None:
        """Stand for the state: another has to be sent."""
        self.given_back.append((instance_id, task_id))


@pytest.mark.parametrize("is_away", [True, False])
def test_what_could_not_be_sent_is_given_back(monkeypatch: pytest.MonkeyPatch, is_away: bool) -> None:
    broker, asked = Broker(is_away=is_away), []

    def run(_: object, instance_id: str, **arguments: Any) -> tuple[Iteration, ...]:
        asked.append((instance_id, arguments["epoch"], arguments["tick"], arguments["queue"]))
        return (NEXT,)

    monkeypatch.setattr(iteration, "context", lambda: SimpleNamespace(due=broker))
    monkeypatch.setattr(iteration, "publisher", lambda: broker)
    monkeypatch.setattr(iteration, "run_iteration", run)
    iteration.iterate("mm", 2, 3)
    assert asked == [("mm", 2, 3, ITERATE)]
    assert (broker.taken, broker.given_back) == (([], [("mm", "next")]) if is_away else ([NEXT], []))
