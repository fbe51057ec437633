"""Come back to the broker soon after it does, however long it was away."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer

#: The first pause between two tries; each further one is longer by as much, up to the longest. Celery's own
#: pauses grow up to 30 s, so that a worker stays idle long after the broker is back, and no setting of its
#: own shortens them.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 2.0


class SteadyConsumer(Consumer):
    """Celery's consumer with short pauses between its tries to connect."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return `conn` once it is connected."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=FIRST_PAUSE_S,
            interval_step=FIRST_PAUSE_S,
            interval_max=LONGEST_PAUSE_S,
        )
        return super().ensure_connected(conn)
