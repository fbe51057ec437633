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
        channel.qos._flush()  # those that were acknowledged
        held = len(channel.qos._delivered)
        channel.qos.restore_unacked()
        _return_the_last_answer(channel)
    except (redis.RedisError, *BROKER_ERRORS) as error:
        log.warning("messages not given back, the sweep publishes them", error=str(error))
    else:
        log.info("worker shuts down", given_back=held)


def _return_the_last_answer(channel: Any) -> None:
    """Wait for the answer to the request for messages that is still open (1 s), and return what it brings.

    Else a message would lie in our socket until the last running task is over.
    """
    if channel._in_poll:
        try:
            channel._brpop_read()
        except Empty:
            return
