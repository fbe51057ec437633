"""A state server in memory with instances in it, and what Prometheus would read of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families

from monitoring.exposition import Exposition
from monitoring.fleet import FleetReader
from state import keys

#: Name and labels of a series, to its value.
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class FleetBench:
    """Write what the scripts would write, read what Prometheus would."""

    def __init__(self, client: redis.Redis, directory: Path) -> None:
        self.client = client
        self.directory = directory
        self.fleet = FleetReader(client, client, burst=300, requests_per_minute=1800)

    def now_ms(self) -> int:
        """Return the server's time, ms."""
        seconds, microseconds = self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def instance(self, name: str, phase: str = "running", **fields: Any) -> None:
        """Keep an instance."""
        now_ms = self.now_ms()
        row = {
            "phase": phase,
            "epoch": 3,
            "seq": 117,
            "due": now_ms + 60_000,
            "committed_at": now_ms,
            **fields,
        }
        self.client.hset(keys.record(name), mapping={k: str(v) for k, v in row.items()})
        self.client.sadd(keys.INSTANCES, name)
        metadata = {"strategy": "standard", "symbol": "SOL_USDC", "exchange": "backpack"}
        self.client.set(keys.config(name), json.dumps({"metadata": metadata, "live": True}))

    def exposition(self, most_instances: int = 500, **more: Any) -> Exposition:
        """Return what serves it."""
        return Exposition(self.directory, self.fleet, most_instances=most_instances, **more)

    def series(self, most_instances: int = 500) -> Series:
        """Return every series as Prometheus understands the text."""
        return series_of(self.exposition(most_instances).text()[0].decode())


def series_of(text: str) -> Series:
    """Return every series of a text."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    """Return the value of one series, None where it is not told."""
    return series.get((name, tuple(sorted(labels.items()))))
