"""Celery's consumer: soon back at a broker that was away, and quick to hand over when it ends."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer

from tasks.handover import hand_over

#: The first pause between two tries; each further one is longer by as much, up to the longest. Celery's own
#: pauses grow up to 30 s, so that a worker stays idle long after the broker is back, and no setting of its
#: own shortens them.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 2.0


class SteadyConsumer(Consumer):
    """Celery's consumer with short pauses between its tries to connect, and a hand-over at its end."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return `conn` once it is connected."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=FIRST_PAUSE_S,
            interval_step=FIRST_PAUSE_S,
            interval_max=LONGEST_PAUSE_S,
        )
        return super().ensure_connected(conn)

    def stop(self) -> None:
        """End consuming, and hand over what was not begun: before the pool ends, which may take seconds."""
        channel = self.task_consumer.channel if self.task_consumer else None
        super().stop()
        if channel is not None:
            hand_over(channel)
