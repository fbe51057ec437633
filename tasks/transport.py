"""kombu's Redis transport behind a look at each message: see envelope.py for the reason."""

from __future__ import annotations

import time
from typing import Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from state.connection import LeaderConnection, LeaderTlsConnection
from state.queues import is_task_queue
from tasks.envelope import LONGEST_OTHER_MESSAGE, LONGEST_TASK_MESSAGE, problem_of_envelope
from tasks.refusing import REFUSALS

LOOK_EVERY_S = 1.0


class _QoS(kombu_redis.QoS):
    """Forgets what nobody has acknowledged in time, where kombu puts it back.

    Its worker is gone, and a sweep has sent it anew long since: put back, each would cost a claim that is
    refused, and the worker that does it stands still meanwhile, for seconds with what a killed one held.
    """

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Take away what is held for longer than the visibility timeout. Flower has no right to: it waits."""
        if not any(is_task_queue(queue.encode()) for queue in self.channel.active_queues):
            return
        with self.channel.conn_or_acquire() as client, client.pipeline() as pipe:
            until_s = time.time() - self.visibility_timeout
            tags = client.zrange(self.unacked_index_key, "-inf", until_s, byscore=True)
            if tags:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()


class _Looking:
    """Mixed into a channel: takes away what nobody may parse."""

    QoS = _QoS
    #: A message could not be acknowledged: it takes up a place until the consumer connects anew, and nothing
    #: else may notice (a server that answers, but takes no writes; one that is frozen).
    lost_an_acknowledgement = False
    #: The client that sends and acknowledges; None before the first message.
    _of_pool: Any = None

    def basic_ack(self, *args: Any, **options: Any) -> None:
        """Acknowledge a message."""
        try:
            super().basic_ack(*args, **options)  # type: ignore[misc]
        except (redis.ConnectionError, redis.TimeoutError):
            self.lost_an_acknowledgement = True
            raise

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return a client; the one that sends and acknowledges is made once for each pool of connections.

        kombu makes one for every message, which costs about as much as the sending.
        """
        known = self._of_pool
        if not asynchronous and known is not None and known.connection_pool is self.pool:  # type: ignore[attr-defined]
            return known
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        client.set_response_callback("BRPOP", _taken_from_queue)
        if not asynchronous:
            self._of_pool = client
        return client

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        """Return a broadcast; one that is refused comes without its data, which kombu passes over."""
        message: dict[str, Any] = super()._handle_message(client, response)  # type: ignore[misc]
        if isinstance(message["data"], bytes):
            reason = problem_of_envelope(message["data"], LONGEST_OTHER_MESSAGE)
            if reason is not None:
                REFUSALS.note(reason, message["data"])
                message["data"] = b""
        return message


def _taken_from_queue(response: Any, **_: Any) -> tuple[bytes, bytes] | None:
    """Return queue and message, or None, as when no message came in time."""
    if not response:
        return None
    queue, data = response
    longest = LONGEST_TASK_MESSAGE if is_task_queue(queue) else LONGEST_OTHER_MESSAGE
    reason = problem_of_envelope(data, longest)
    if reason is None:
        return queue, data
    REFUSALS.note(reason, data)
    return None


class _Reconnecting:
    """Mixed into a transport: has the consumer connect anew where places are lost."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Look now and then."""
        super().register_with_event_loop(connection, loop)  # type: ignore[misc]
        cycle = self.cycle  # type: ignore[attr-defined]
        # As kombu does with its own timers: this is called again at each connection.
        timer = getattr(cycle, "lost_places_timer", None)
        if timer is not None:
            timer.cancel()
        cycle.lost_places_timer = loop.call_repeatedly(LOOK_EVERY_S, look_for_lost_places, cycle)


def look_for_lost_places(cycle: Any) -> None:
    """Raise what Celery takes for the loss of the connection."""
    if any(channel.lost_an_acknowledgement for channel in cycle._channels):
        raise redis.ConnectionError("a message could not be acknowledged: connecting anew")


class Channel(_Looking, kombu_redis.Channel):
    """A channel to one server."""


class Transport(_Reconnecting, kombu_redis.Transport):
    """Transport of ``redis://`` and ``rediss://``."""

    Channel = Channel


class SentinelChannel(_Looking, kombu_redis.SentinelChannel):
    """A channel to whichever server leads."""

    # A server that has lost its lead, or its replicas, is one that is gone: Celery ends at other errors.
    connection_class = LeaderConnection
    connection_class_ssl = LeaderTlsConnection  # type: ignore[assignment] # kombu means any with TLS


class SentinelTransport(_Reconnecting, kombu_redis.SentinelTransport):
    """Transport of ``sentinel://``."""

    Channel = SentinelChannel


def install() -> None:
    """Let every broker URL of this process lead here."""
    ours = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=ours, rediss=ours, sentinel=f"{__name__}:{SentinelTransport.__name__}")
