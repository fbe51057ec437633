"""The base of our tasks."""

from __future__ import annotations

from typing import Any

from celery import Task

from tasks.arguments import problem_of_arguments
from tasks.refusing import REFUSALS


class StrictTask(Task):
    """A task that looks at its arguments itself, too: not every call comes through the gate."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task, or do nothing for arguments that are none of its own."""
        problem = problem_of_arguments(self.name, args, kwargs)
        if problem is None:
            return self.run(*args, **kwargs)
        REFUSALS.note("arguments", (self.name, problem, args, kwargs))
        return None
