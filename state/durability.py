"""What the state server keeps when it crashes, and how to wait until something is kept for good."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

import redis

from state import keys
from state.connection import StateError, is_led_by_sentinels
from state.scripts import Scripts

log = logging.getLogger(__name__)

#: Longest wait for the disk: shorter than a lease, and than a client's patience with its socket.
DISK_TIMEOUT_S = 4.0
#: Longest wait for the replicas, likewise.
REPLICAS_TIMEOUT_S = 2.0
#: A server that writes each second has handed over by then what it was told before.
HANDED_OVER_S = 1.1
LOOK_EVERY_S = 0.05


class NothingKept(StateError):
    """Raised when there is no disk to wait for."""


class Keeps(StrEnum):
    """What a state server still knows after a crash of its machine. The scripts know these words."""

    #: Everything that it has confirmed.
    ALWAYS = "always"
    #: Everything but about the last second, and it can be waited for.
    EVERYSEC = "everysec"
    #: Nobody can tell.
    UNSURE = "unsure"


def is_first_file_unfinished(info: Mapping[str, Any]) -> bool:
    """Tell whether the append-only file was turned on while the server ran and is not complete yet.

    Until it is, nothing of it is loaded at a restart, whatever was forced to the disk. `info` is the
    server's ``INFO persistence``.
    """
    is_rewriting = int(info.get("aof_rewrite_in_progress", 0)) or int(info.get("aof_rewrite_scheduled", 0))
    has_failed = info.get("aof_last_bgrewrite_status", "ok") != "ok"
    return not int(info.get("aof_base_size", 0)) and bool(is_rewriting or has_failed)


def wait_for_disk(client: redis.Redis, *, timeout_s: float = DISK_TIMEOUT_S) -> bool:
    """Tell whether everything the server has done so far is on its disk within `timeout_s`.

    Not by `WAITAOF`: with ``everysec`` some versions answer it without having written anything (redis/redis
    pull request 13793, and Valkey 9.1.2 still). What holds for all: what was written more than a second ago
    has been handed to the disk as soon as no earlier write was under way, which every look lets it see.
    Raises `NothingKept` where there is no append-only file.
    """
    began_s = time.monotonic()
    client.set(keys.DISK_MARK, "1")
    was_idle = False
    while True:
        look_s = time.monotonic() - began_s
        info = cast("Mapping[str, Any]", client.info("persistence"))
        if not int(info.get("aof_enabled", 0)):
            raise NothingKept("it writes no append-only file")
        is_idle = (
            not int(info.get("aof_pending_bio_fsync", 0))
            and not int(info.get("aof_buffer_length", 0))
            and info.get("aof_last_write_status", "ok") == "ok"
            and not is_first_file_unfinished(info)
        )
        if look_s >= HANDED_OVER_S and is_idle and was_idle:
            return True
        if look_s >= timeout_s:
            return False
        was_idle = is_idle
        threading.Event().wait(LOOK_EVERY_S)


def wait_for_replicas(client: redis.Redis, *, timeout_s: float = REPLICAS_TIMEOUT_S) -> bool:
    """Tell whether every replica that is connected has everything the server has done so far.

    False where there is none: then whoever takes over lacks it. Which replica takes over is the Sentinels'
    choice, so all of them are waited for.
    """
    replicas = int(cast("Mapping[str, Any]", client.info("replication")).get("connected_slaves", 0))
    if not replicas:
        return False
    # One connection for both: WAIT stands for what its own connection has written, and all that came before.
    pipeline = client.pipeline(transaction=False)
    pipeline.set(keys.DISK_MARK, "1")
    pipeline.wait(replicas, int(timeout_s * 1000))
    return int(pipeline.execute()[1]) >= replicas


def wait_until_kept(client: redis.Redis) -> bool:
    """Tell whether nothing that the server has done so far can be forgotten any more by the loss of it.

    On its disk and, where Sentinels may let another one take over, with its replicas. Raises `NothingKept`.
    """
    if is_led_by_sentinels(client):
        return wait_for_replicas(client) and (_forces_each_write(client) or wait_for_disk(client))
    return wait_for_disk(client)


def _forces_each_write(client: redis.Redis) -> bool:
    """Tell whether the server has on its disk whatever it has confirmed."""
    try:
        found = cast("Mapping[str, str]", client.config_get("append*"))
    except redis.ResponseError:  # it does not tell
        return False
    return found.get("appendonly") == "yes" and found.get("appendfsync") == "always"


def save(client: redis.Redis, scripts: Scripts, instance_id: str, what: str) -> bool:
    """Wait until `what` of an instance, a start or a stop, is kept for good, and note that; tell whether.

    A server that turns out to be unable to tell is not waited for.
    """
    try:
        if not wait_until_kept(client):
            return False
    except NothingKept as error:
        log.error(
            "%s: a crash of the state server may take this back: %s (%s)",
            instance_id,
            what,
            error,
        )
    scripts.call("saved", [keys.record(instance_id)], [what])
    return True
