"""Hand over what a worker holds as soon as it shuts down.

Iterations that wait for their time are messages in the main process's memory. Celery gives them back at the
very end, when the last running task is over; until then nobody would run them, and a worker that is killed
meanwhile never gives them back.
"""

from __future__ import annotations

from typing import Any

import redis
import structlog
from kombu.utils.json import dumps, loads

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

    All in one step. kombu restores one after the other, each on the condition that nobody has taken any
    message meanwhile, while others take what it has restored: some seconds for 500. And what is due first
    comes out first: that is what is put in last.
    """
    qos = channel.qos
    qos._flush()  # those that were acknowledged
    if not qos._delivered:
        return 0
    tags = sorted(qos._delivered, key=lambda tag: _due(qos._delivered[tag]))[::-1]
    with channel.conn_or_acquire() as client, client.pipeline() as pipe:
        # As they came: Celery writes into its own.
        for tag, kept in zip(tags, client.hmget(qos.unacked_key, tags), strict=True):
            if kept is not None:
                message, _, routing_key = loads(kept)  # type: ignore[no-untyped-call]
                qos._remove_from_indices(tag, pipe)
                # Each of our queues has its own name for a routing key (celeryconfig.py).
                pipe.rpush(routing_key, dumps(message))  # type: ignore[no-untyped-call]
        pipe.execute()
    qos._delivered.clear()
    return len(tags)


def _due(held: Any) -> str:
    """Return when a held message is due (ISO 8601), empty for now."""
    return str(held.headers.get("eta") or "")


def _return_the_last_answer(channel: Any) -> None:
    """Wait for the answer to the request for messages that is still open (1 s), and return what it brings.

    Else a message would lie in our socket until the last running task is over. It may be one that was just
    given back: whoever asks first is served first. So it goes to where it was, in front of the others.
    """
    if not channel._in_poll:
        return
    connection, channel._in_poll = channel._in_poll, None
    answer = channel.client.parse_response(connection, "BRPOP")
    if answer is not None:
        with channel.conn_or_acquire() as client:
            client.rpush(*answer)
