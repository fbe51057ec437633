"""Which task a line of the log belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog


def bind_task(task_id: str, name: str, args: Sequence[Any]) -> None:
    """Put the task's identity on every line it logs."""
    structlog.contextvars.bind_contextvars(task=name, task_id=task_id)
    if args:
        structlog.contextvars.bind_contextvars(instance=args[0])
    if len(args) > 1:
        structlog.contextvars.bind_contextvars(epoch=args[1])


def clear_task() -> None:
    """Forget the task's identity, so that it does not leak into the next one."""
    structlog.contextvars.clear_contextvars()
