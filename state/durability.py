"""What the state server keeps when it crashes, and how to wait until something is on its disk."""

from __future__ import annotations

import logging
from enum import StrEnum

import redis

from state import keys
from state.scripts import Scripts

log = logging.getLogger(__name__)

#: Longest wait for the disk: shorter than a lease, and than a client's patience with its socket.
DISK_TIMEOUT_S = 4.0


class Keeps(StrEnum):
    """What a state server still knows after a crash of its machine. The scripts know these words."""

    #: Everything that it has confirmed.
    ALWAYS = "always"
    #: Everything but about the last second, and it can be waited for.
    EVERYSEC = "everysec"
    #: Nobody can tell, or wait for it.
    UNSURE = "unsure"


def wait_for_disk(client: redis.Redis, *, timeout_s: float = DISK_TIMEOUT_S) -> bool:
    """Tell whether everything the server has done so far is on its disk within `timeout_s`.

    Raises `redis.ResponseError` where the server cannot tell: before 7.2, or without an append-only file.
    """
    pipeline = client.pipeline(transaction=False)
    # The server waits for what this very connection has written, which stands behind all that came before.
    pipeline.set(keys.DISK_MARK, "1")
    pipeline.waitaof(1, 0, int(timeout_s * 1000))
    written: list[int] = pipeline.execute()[1]
    return written[0] == 1


def save(client: redis.Redis, scripts: Scripts, instance_id: str, what: str) -> bool:
    """Wait until `what` of an instance, a start or a stop, is on disk and note that; tell whether it is.

    A server that turns out to be unable to tell is not waited for.
    """
    try:
        if not wait_for_disk(client):
            return False
    except redis.ResponseError as error:
        log.error(
            "%s: the state server no longer tells what is on its disk (%s); a crash may take this back: %s",
            instance_id,
            error,
            what,
        )
    scripts.call("saved", [keys.record(instance_id)], [what])
    return True
