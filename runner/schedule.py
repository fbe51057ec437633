"""When iterations run: what follows each, task ids, hops of long countdowns, back-off, and the sweep."""

from __future__ import annotations

import random
import secrets

import redis
import structlog

from metrics import families
from runner.context import Context
from runner.place import reach_ms
from runner.publisher import Iteration, Publisher
from state.due import CleanUp, Damaged, IterateAgain
from state.leases import Committed, Lease

log = structlog.get_logger(__name__)

#: An instance that keeps failing is tried again at most this rarely.
LONGEST_BACKOFF_MS = 8_000
#: So many of those that are due are swept before it is looked who still is; so often, before signs of life.
HANDFUL, MOST_HANDFULS = 200, 5


def task_id(instance_id: str, epoch: int, tick: int | None) -> str:
    """Return a readable id that is never used twice: workers remember revoked ids for ever."""
    place = "wake" if tick is None else str(tick)
    return f"{instance_id}.{epoch}.{place}.{secrets.token_hex(4)}"


def hop_s(remaining_s: float, visibility_timeout_s: int) -> float:
    """Return the countdown of the next message: the whole wait, or a hop of a long one.

    What is held beyond the visibility timeout counts as lost, so that it would not be handed over.
    """
    return min(max(remaining_s, 0.0), visibility_timeout_s / 3)


def following(lease: Lease, committed: Committed, *, visibility_timeout_s: int) -> tuple[Iteration, ...]:
    """Return the messages that a commit asks for: the next scheduled iteration, and a wake-up."""

    def message(tick: int | None, its_id: str, countdown_s: float = 0.0) -> Iteration:
        return Iteration(
            instance_id=lease.instance_id,
            account=lease.account,
            epoch=committed.epoch,
            tick=tick,
            task_id=its_id,
            countdown_s=countdown_s,
        )

    messages = []
    if committed.countdown_ms is not None:
        countdown_s = hop_s(committed.countdown_ms / 1000, visibility_timeout_s)
        messages.append(message(committed.tick, committed.task_id, countdown_s))
    if committed.wake_up:
        messages.append(message(None, task_id(lease.instance_id, lease.epoch, None)))
    return tuple(messages)


def error_delay_ms(errors_in_a_row: int) -> int:
    """Return the least wait after the given number of failed iterations: 1 s, doubled up to 8 s."""
    return min(LONGEST_BACKOFF_MS, 1000 * 2 ** min(errors_in_a_row - 1, 10)) if errors_in_a_row > 0 else 0


def sweep(context: Context, publisher: Publisher) -> int:
    """Publish what nobody works on: overdue iterations and unclaimed cleanups. Return how many.

    Every worker does this all the time; the script hands each piece of work to one of them. Of many that are
    due, each takes some at random and looks anew: in the same order all would ask for what one has taken.
    Whoever has asked for a sweep comes first each time: somebody waits, and they have become due last.
    """
    found = 0
    for _ in range(MOST_HANDFULS):
        found += sum(sweep_one(context, publisher, instance_id) for instance_id in context.due.take_calls())
        due = context.due.ids(now_ms=context.instances.now_ms())
        handful = random.sample(due, min(len(due), HANDFUL))
        found += sum(sweep_one(context, publisher, instance_id) for instance_id in handful)
        if len(handful) == len(due):
            break
    return found


def sweep_one(context: Context, publisher: Publisher, instance_id: str) -> bool:
    """Publish what nobody works on for one instance; tell whether there was anything."""
    try:
        work = context.due.sweep(instance_id, task_id=f"{instance_id}.sweep.{secrets.token_hex(4)}")
        if isinstance(work, Damaged):
            context.instances.fail(instance_id, reach_ms=reach_ms(context, instance_id))
            log.error("state damaged, taken for failed", instance=instance_id, why=work.why)
            return True
    except redis.ResponseError as error:
        # It stays the most overdue: without this nobody behind it would ever get a turn.
        log.error("record cannot be swept", instance=instance_id, error=str(error))
        return False
    if work is None:
        return False
    try:
        _publish(publisher, work)
    except Exception:
        # A broker that is away is no worker that is slow: the repeats must not become rarer for it.
        context.due.not_sent(instance_id, work.task_id if isinstance(work, IterateAgain) else "")
        raise
    return True


def _publish(publisher: Publisher, work: IterateAgain | CleanUp) -> None:
    instance_id, epoch = work.instance_id, work.epoch
    if isinstance(work, CleanUp):
        publisher.publish_cleanup(instance_id, epoch)
        if work.pending_task_id:
            publisher.revoke(work.pending_task_id)
        families.SWEPT.add("cleanup")
        log.info("cleanup published", instance=instance_id, epoch=epoch)
        return
    publisher.publish_iteration(
        Iteration(
            instance_id=instance_id, account=work.account, epoch=epoch, tick=work.tick, task_id=work.task_id
        )
    )
    families.SWEPT.add("iterate")
    log.info("iteration published by sweep", instance=instance_id, epoch=epoch, tick=work.tick)
