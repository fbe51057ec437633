"""The queues of task messages: which there are, and which one serves an instance.

Iterations go through ``iterate``, or are divided by account among ``iterate.1of4`` and so on. The names say
how many there are, so that whoever reads who serves what needs no setting, and nothing is taken for another's
while the number changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from zlib import crc32

from state.record import Phase

ITERATE, CLEANUP = "iterate", "cleanup"
#: Who has to be alive for an instance to be looked after; iterations may have several queues.
QUEUE_OF = {Phase.RUNNING: ITERATE, Phase.STOPPING: CLEANUP, Phase.FAILED: CLEANUP}
MOST_QUEUES = 256
_PART = re.compile(rf"{ITERATE}\.[1-9][0-9]{{0,2}}of([1-9][0-9]{{0,2}})", re.ASCII)


def iterate_queues(count: int) -> tuple[str, ...]:
    """Return the queues of iterations, `count` of them."""
    return tuple(_numbered(number, count) for number in range(count))


def all_queues(count: int) -> tuple[str, ...]:
    """Return every queue, where iterations have `count` of them."""
    return (*iterate_queues(count), CLEANUP)


def iterate_queue(account: str, count: int) -> str:
    """Return the queue of an account's iterations, the same in every process and after every restart."""
    return _numbered(crc32(account.encode()) % count, count)


def serves(queue: str, phase: Phase, account: str) -> bool:
    """Tell whether a worker of `queue` looks after an instance of `account` in `phase`."""
    if QUEUE_OF.get(phase) != ITERATE:
        return queue == QUEUE_OF.get(phase)
    count = _count(queue)
    return count > 0 and queue == iterate_queue(account, count)


def needed_queues(served: Collection[str]) -> tuple[str, ...]:
    """Return every queue that must be served; those that are, `served`, tell into how many it is divided."""
    counts = {_count(queue) for queue in served} - {0}
    return all_queues(min(counts or {1}, key=lambda count: len(set(iterate_queues(count)) - set(served))))


def is_task_queue(name: bytes) -> bool:
    """Tell whether a list of the broker holds tasks, those of another division included."""
    return name.split(b".")[0] in (ITERATE.encode(), CLEANUP.encode())


def _numbered(number: int, count: int) -> str:
    return ITERATE if count == 1 else f"{ITERATE}.{number + 1}of{count}"


def _count(queue: str) -> int:
    """Return into how many iterations are divided where there is this queue, 0 if it is none of theirs."""
    if queue == ITERATE:
        return 1
    part = _PART.fullmatch(queue)
    count = int(part[1]) if part else 0
    return count if count <= MOST_QUEUES else 0
