"""Hand over what a worker holds as soon as it shuts down.

Iterations that wait for their time are messages in the main process's memory. Celery gives them back at the
very end, when the last running task is over; until then nobody would run them, and a worker that is killed
meanwhile never gives them back.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import redis
import structlog

from tasks.ending import tell_children
from tasks.publishing import BROKER_ERRORS

log = structlog.get_logger(__name__)


def hand_over(channel: Any) -> None:
    """Give back every message that was not begun, and let what runs come to its end.

    `channel` consumes nothing any more. What is run here all the same is refused there, or the other way
    round: the claim decides.
    """
    tell_children()
    try:
        held = _give_back(channel)
        _return_the_last_answer(channel)
    except (redis.RedisError, *BROKER_ERRORS) as error:
        log.warning("messages not given back, the sweep publishes them", error=str(error))
    else:
        log.info("worker shuts down", given_back=held)


def _give_back(channel: Any) -> int:
    """Put every message that was not begun back into its queue; return how many.

    As `QoS.restore_unacked` does, but what is due first comes out first: that is what is put in last.
    """
    qos = channel.qos
    qos._flush()  # those that were acknowledged
    held = sorted(qos._delivered.items(), key=_due, reverse=True)
    with channel.conn_or_acquire() as client:
        for tag, _ in held:
            qos.restore_by_tag(tag, client=client)
    qos._delivered.clear()
    return len(held)


def _due(held: tuple[Any, Any]) -> str:
    """Return when a held message is due (ISO 8601), empty for now."""
    return str(held[1].headers.get("eta") or "")


def _return_the_last_answer(channel: Any) -> None:
    """Wait for the answer to the request for messages that is still open (1 s), and return what it brings.

    Else a message would lie in our socket until the last running task is over.
    """
    if channel._in_poll:
        try:
            channel._brpop_read()
        except Empty:
            return
