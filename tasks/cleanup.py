"""The task of one cleanup attempt."""

from __future__ import annotations

from celery import Task

from runner.cleanup import run_cleanup
from runner.stop_progress import BY_WORKER
from tasks.away import ends_when_away
from tasks.celery import app, context, publisher
from tasks.ending import ending_safely


@app.task(name="tasks.cleanup", bind=True)
def cleanup(self: Task, instance_id: str, epoch: int) -> str:
    """Clean up a stopped run; an attempt that is not clean is repeated by the sweep.

    Returns what came of it, for Flower.
    """
    said = "not run, or handed over"
    with ending_safely() as is_ending, ends_when_away(instance_id, epoch):
        receipt = run_cleanup(
            context(),
            instance_id,
            epoch=epoch,
            by=f"{BY_WORKER}{self.request.hostname}",
            interrupt=publisher().interrupt,
            is_ending=is_ending,
        )
        if receipt is not None:
            said = (
                f"{receipt.result} · attempt {receipt.attempt} · {receipt.attempts[-1].cancelled} cancelled"
            )
    return said
