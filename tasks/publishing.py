"""Messages as Celery sends them. A lost one is published again by the sweep, so nothing here is retried."""

from __future__ import annotations

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from runner.publisher import Iteration
from state.queues import iterate_queue

log = structlog.get_logger(__name__)

#: What a broker that is away raises; the state in Redis already says what is owed.
BROKER_ERRORS = (OperationalError, OSError)


class CeleryPublisher:
    """Publishes through the application's producer pool."""

    def __init__(self, app: Celery, *, iterate_queues: int) -> None:
        self._app = app
        self._iterate_queues = iterate_queues

    def publish_iteration(self, iteration: Iteration) -> None:
        """Send `tasks.iterate` with its countdown to the queue of its account."""
        # As the tick, since its seq is given out when it is claimed: wake-ups come in between.
        place = "wake-up" if iteration.tick is None else f"tick {iteration.tick}"
        self._app.send_task(
            "tasks.iterate",
            args=[iteration.instance_id, iteration.epoch, iteration.tick],
            task_id=iteration.task_id,
            queue=iterate_queue(iteration.account, self._iterate_queues),
            countdown=iteration.countdown_s or None,
            argsrepr=f"{iteration.instance_id} · epoch {iteration.epoch} · {place}",
            kwargsrepr="",
            retry=False,
        )

    def publish_cleanup(self, instance_id: str, epoch: int) -> None:
        """Send `tasks.cleanup` to queue ``cleanup``."""
        self._app.send_task(
            "tasks.cleanup",
            args=[instance_id, epoch],
            argsrepr=f"{instance_id} · epoch {epoch}",
            kwargsrepr="",
            retry=False,
        )

    def revoke(self, task_id: str) -> None:
        """Tell all workers to drop the message when it comes due."""
        self._app.control.revoke(task_id)

    def interrupt(self, task_id: str) -> None:
        """Raise SoftTimeLimitExceeded inside the running task, even in a blocked call.

        A broker that is away raises nothing: whoever asks waits for the end of the task's lease anyway.
        """
        try:
            self._app.control.revoke(task_id, terminate=True, signal="SIGUSR1")
        except (redis.RedisError, *BROKER_ERRORS) as error:
            log.warning("interrupt not sent", task_id=task_id, error=str(error))
