"""The task of one iteration."""

from __future__ import annotations

import structlog
from celery import Task

from runner.iteration import run_iteration
from state.queues import ITERATE
from tasks.away import ends_when_away
from tasks.celery import app, context, publisher
from tasks.ending import ending_safely
from tasks.publishing import BROKER_ERRORS

log = structlog.get_logger(__name__)


@app.task(name="tasks.iterate", bind=True)
def iterate(self: Task, instance_id: str, epoch: int, tick: int | None) -> str:
    """Run one iteration and publish what follows it. Return what came of it, for Flower."""
    said = ""

    def say(words: str) -> None:
        nonlocal said
        said = words

    with ending_safely() as is_ending, ends_when_away(instance_id, epoch):
        for message in run_iteration(
            context(),
            instance_id,
            epoch=epoch,
            tick=tick,
            own_task_id=str(self.request.id),
            queue=str((self.request.delivery_info or {}).get("routing_key") or ITERATE),
            is_ending=is_ending,
            say=say,
        ):
            try:
                publisher().publish_iteration(message)
            except BROKER_ERRORS as error:
                log.warning("publishing failed, the sweep repeats it", instance=instance_id, error=str(error))
                context().due.not_sent(instance_id, message.task_id)
    return said
