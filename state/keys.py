"""Every Redis key of the project. The braces keep an instance's keys together."""

from __future__ import annotations

PREFIX = "cleanbook"


def record(instance_id: str) -> str:
    """Hash: phase, epoch, tick, seq, lease, fence, strategy state, last outcome."""
    return f"{PREFIX}:{{{instance_id}}}:record"


def instance_of(record_key: str) -> str:
    """Return whose record a key is, empty for any other key."""
    start, end = f"{PREFIX}:{{", "}:record"
    is_record = record_key.startswith(start) and record_key.endswith(end)
    return record_key[len(start) : -len(end)] if is_record else ""


def stop(instance_id: str) -> str:
    """String: written by a stop; while it exists nothing is authorised."""
    return f"{PREFIX}:{{{instance_id}}}:stop"


def config(instance_id: str) -> str:
    """String: the configuration of the current run, JSON without secrets."""
    return f"{PREFIX}:{{{instance_id}}}:config"


def generations(instance_id: str) -> str:
    """Hash: ``level:role`` to the number of client order ids handed out for it."""
    return f"{PREFIX}:{{{instance_id}}}:generations"


def intents(instance_id: str) -> str:
    """Hash: ``level:role:generation`` of authorised orders whose fate is not known, to when, ms."""
    return f"{PREFIX}:{{{instance_id}}}:intents"


def released(instance_id: str) -> str:
    """List: an iteration that ends during a stop pushes its token, which wakes the cleanup."""
    return f"{PREFIX}:{{{instance_id}}}:released"


def trace(instance_id: str) -> str:
    """Stream of the last two hundred: claims and commits of the instance's iterations."""
    return f"{PREFIX}:{{{instance_id}}}:trace"


def own_fills(instance_id: str) -> str:
    """Stream, short: fills of the instance's orders as a feed saw them, for its next iteration."""
    return f"{PREFIX}:{{{instance_id}}}:fills"


def market(venue: str, symbol: str) -> str:
    """Hash: the newest order book that a feed has seen, and when."""
    return f"{PREFIX}:market:{venue}:{symbol}"


def feed_lease(account: str) -> str:
    """String that ends by itself: which feed process listens to an account."""
    return f"{PREFIX}:feed:lease:{account}"


def feed_cursor(account: str) -> str:
    """Hash: until when (ms, exchange time) an account's histories have been read completely."""
    return f"{PREFIX}:feed:cursor:{account}"


def heard(account: str) -> str:
    """Hash: when feeds have heard what of an account, and since when without a break."""
    return f"{PREFIX}:feed:heard:{account}"


def slots(account: str) -> str:
    """Hash: instance id to its slot, and ``#slot`` to its instance, for one account."""
    return f"{PREFIX}:slots:{account}"


def budget(account: str) -> str:
    """Hash: the token bucket of an account's request rate."""
    return f"{PREFIX}:budget:{account}"


def alerts_outbox(target: str) -> str:
    """List: messages (JSON) that wait to be sent to a target, oldest first."""
    return f"{PREFIX}:alerts:outbox:{target}"


#: Sorted set: instance id scored with the time (ms) at which a sweep must look at it.
DUE = f"{PREFIX}:due"
#: Hash: how late iterations begin whose messages wait for a worker, and until when that counts.
BACKLOG = f"{PREFIX}:backlog"
#: Stream: lifecycle events of all instances.
EVENTS = f"{PREFIX}:events"
#: List: pushed to when a sweep should look at once.
WAKE = f"{PREFIX}:wake"
#: Set: every instance id ever started here.
INSTANCES = f"{PREFIX}:instances"
#: Hash: worker host name to its heartbeat (JSON).
WORKERS = f"{PREFIX}:workers"
#: Hash: name of a feed process to its heartbeat (JSON).
FEEDS = f"{PREFIX}:feeds"
#: Hash: name of a guard process to its heartbeat (JSON).
GUARDS = f"{PREFIX}:guards"
#: Hash: which server answers, as `parts/restart.lua` names it, and since when anybody has noticed.
SERVER = f"{PREFIX}:server"
#: String: written before the disk is waited for.
DISK_MARK = f"{PREFIX}:disk_mark"
#: Stream: what the ledger has yet to take (JSON), oldest first.
BOOKINGS = f"{PREFIX}:bookings"
#: String: id of the ledger that takes bookings here; another one must not.
LEDGER = f"{PREFIX}:ledger"
#: String that ends by itself: a sweep has compared its list with all records.
LOOKED = f"{PREFIX}:looked"
#: Hash: why a task message was refused, to how often.
REFUSED = f"{PREFIX}:refused_messages"
#: String that ends by itself: which alerts process sends.
ALERTS_LEASE = f"{PREFIX}:alerts:lease"
#: String: what the alerts processes remember (JSON).
ALERTS_MEMORY = f"{PREFIX}:alerts:memory"
