"""How the fleet stands, as metric families. Labels with the name of an instance are here and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from metrics.numbers import OTHER
from monitoring.fleet import PHASES, FleetReading, InstanceReading, shown_first

STANDINGS = ("streaming", "connecting", "reconnecting")
#: Of one reading: accounts and markets are as many as somebody configures.
MOST_ACCOUNTS = 200
MOST_MARKETS = 500
#: Why workers refuse messages (tasks/).
REFUSED_REASONS = (
    *("arguments", "body", "compressed", "content type", "control", "envelope", "eta", "headers"),
    *("oversized", "signature", "undecodable", "unknown task", "unsigned"),
)


def fleet_families(reading: FleetReading, *, most_instances: int) -> Iterator[Metric]:
    """Yield every gauge of the fleet; series of their own for at most so many instances."""
    shown = shown_first(reading.instances)[:most_instances]
    yield from _phases(reading)
    hidden = len(reading.instances) - len(shown)
    yield _one(
        "cleanbook_instances_hidden", "Instances without series (CLEANBOOK_METRICS_INSTANCES).", hidden
    )
    yield from _instances(shown)
    yield from _processes(reading)
    yield from _markets(reading)
    yield _one("cleanbook_bookings_waiting", "What the ledger has yet to take.", reading.bookings_waiting)
    refused = CounterMetricFamily(
        "cleanbook_messages_refused", "Messages at the broker that are none of ours.", labels=["reason"]
    )
    counts = dict.fromkeys((*REFUSED_REASONS, OTHER), 0)
    for reason, count in reading.refused_messages.items():
        counts[reason if reason in counts else OTHER] += count
    for reason, count in counts.items():
        refused.add_metric([reason], count)
    yield refused
    if reading.used_memory_bytes is not None:
        yield _one("cleanbook_state_used_bytes", "Memory of the state server.", reading.used_memory_bytes)
    if reading.max_memory_bytes is not None:
        yield _one(
            "cleanbook_state_max_bytes", "What it may use; 0: no limit is set.", reading.max_memory_bytes
        )


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _labelled(
    name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        if value is not None:
            family.add_metric(label_values, value)
    return family


def _phases(reading: FleetReading) -> Iterator[Metric]:
    count = Counter(each.phase for each in reading.instances)
    yield _labelled(
        "cleanbook_instances",
        "Instances by phase.",
        ["phase"],
        [([phase], count[phase]) for phase in PHASES],
    )


def _instances(shown: list[InstanceReading]) -> Iterator[Metric]:
    info = ["instance_id", "strategy", "symbol", "exchange", "account", "live"]
    yield _labelled(
        "cleanbook_instance_info",
        "What an instance is; always 1.",
        info,
        [
            ([i.instance_id, i.strategy, i.symbol, i.exchange, i.account, str(i.is_live).lower()], 1)
            for i in shown
        ],
    )
    yield _labelled(
        "cleanbook_instance_phase",
        "The phase that an instance is in; always 1.",
        ["instance_id", "phase"],
        [([i.instance_id, i.phase], 1) for i in shown],
    )
    known = [i for i in shown if i.phase != PHASES[-1]]
    for name, text, attribute in (
        ("epoch", "Number of its run.", "epoch"),
        ("seq", "Iterations of this run so far.", "seq"),
        ("paused", "1: it goes on without orders until it is resumed.", "is_paused"),
        ("errors", "Iterations that failed in a row.", "errors"),
        ("open_orders", "Own orders that its last iteration believed open.", "open_orders"),
        ("lateness_seconds", "How long its next iteration is overdue.", "lateness_s"),
        ("heartbeat_age_seconds", "Since its last iteration ended, while it runs.", "heartbeat_age_s"),
        ("stopping_seconds", "Since its stop was asked for, while it is not clean.", "stopping_for_s"),
        ("position", "Net quantity of this run, base units.", "position"),
        (
            "profit_today",
            "Of the UTC day, after fees, what is open at the mid; quote units.",
            "profit_today",
        ),
        ("realized", "Realised by this run, after fees; quote units.", "realized"),
    ):
        yield _labelled(
            f"cleanbook_instance_{name}",
            text,
            ["instance_id"],
            [([i.instance_id], getattr(i, attribute)) for i in known],
        )


def _processes(reading: FleetReading) -> Iterator[Metric]:
    yield _labelled(
        "cleanbook_workers",
        "Living workers that serve a queue.",
        ["queue"],
        [([queue], count) for queue, count in reading.workers.items()],
    )
    yield _labelled(
        "cleanbook_queue_messages",
        "Messages that wait for a worker.",
        ["queue"],
        [([queue], count) for queue, count in reading.queues.items()],
    )
    yield _one("cleanbook_feeds", "Living feed processes.", len(reading.feeds))
    standing = Counter(s if s in STANDINGS else OTHER for f in reading.feeds for s in f.accounts.values())
    yield _labelled(
        "cleanbook_feed_accounts",
        "Accounts that are listened to, by how their stream stands.",
        ["standing"],
        [([each], standing[each]) for each in (*STANDINGS, OTHER)],
    )
    yield _one("cleanbook_guards", "Living guards.", len(reading.guards))
    yield _one(
        "cleanbook_guard_watched",
        "Instances that at least one guard watches; the largest number of one guard.",
        max((guard.watched for guard in reading.guards), default=0),
    )
    yield _one(
        "cleanbook_guard_silent",
        "Instances that a guard acts for at the moment.",
        len({name for guard in reading.guards for name in guard.silent}),
    )


def _markets(reading: FleetReading) -> Iterator[Metric]:
    yield _labelled(
        "cleanbook_budget_requests",
        "Requests that an account may make at once.",
        ["account"],
        [([account], left) for account, left in sorted(reading.budgets.items())[:MOST_ACCOUNTS]],
    )
    yield _labelled(
        "cleanbook_book_age_seconds",
        "Since a feed last kept the order book of a market.",
        ["venue", "symbol"],
        [([venue, s], age) for (venue, s), age in sorted(reading.book_ages_s.items())[:MOST_MARKETS]],
    )
