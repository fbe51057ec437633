"""What the runner needs from a task queue, said without naming one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """A message that asks for one iteration."""

    instance_id: str
    #: Its iterations go through one queue.
    account: str
    epoch: int
    #: None: a wake-up, which needs no tick.
    tick: int | None
    task_id: str
    countdown_s: float = 0.0


class Publisher(Protocol):
    """A task queue. Losing or doubling a message is allowed: the state in Redis decides."""

    def publish_iteration(self, iteration: Iteration) -> None:
        """Ask for an iteration after its countdown."""
        ...

    def publish_cleanup(self, instance_id: str, epoch: int) -> None:
        """Ask for a cleanup now."""
        ...

    def revoke(self, task_id: str) -> None:
        """Spare a worker a message that would be refused anyway."""
        ...

    def interrupt(self, task_id: str) -> None:
        """Cut short the task if it is running, as a soft time limit would."""
        ...
