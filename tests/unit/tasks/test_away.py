"""A state server that goes away ends a task with a sentence; the sweep brings back what was lost."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from celery import Task
from structlog.testing import capture_logs

from tasks import cleanup as cleanup_module
from tasks import iteration as iteration_module

AWAY = redis.ConnectionError("Error 111 connecting to 127.0.0.1:1")


@pytest.mark.parametrize(
    ("module", "run", "task", "arguments"),
    [
        (cleanup_module, "run_cleanup", cleanup_module.cleanup, ("bp_sol_01", 3)),
        (iteration_module, "run_iteration", iteration_module.iterate, ("bp_sol_01", 3, 1)),
    ],
    ids=["cleanup", "iteration"],
)
@pytest.mark.parametrize("error", [AWAY, redis.TimeoutError("late"), redis.ReadOnlyError("a replica")])
def test_the_task_ends_and_says_so(
    module: Any,
    run: str,
    task: Task,
    arguments: tuple[object, ...],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, run, fail)
    monkeypatch.setattr(module, "context", lambda: None)

    with capture_logs() as logs:
        result = task.apply(args=arguments)

    assert result.state == "SUCCESS"
    (line,) = logs
    assert "the state server is away; a sweep repeats it" in line["event"]
    assert (line["instance"], line["epoch"], line["log_level"]) == ("bp_sol_01", 3, "warning")
    assert str(error) in line["error"]


def test_any_other_error_of_the_server_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise redis.ResponseError("wrong type")

    monkeypatch.setattr(cleanup_module, "run_cleanup", fail)
    monkeypatch.setattr(cleanup_module, "context", lambda: None)

    assert cleanup_module.cleanup.apply(args=("bp_sol_01", 3)).state == "FAILURE"
