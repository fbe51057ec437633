"""The text that Prometheus reads, for whoever serves it (`manage.py metrics`, the dashboard)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import redis
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metrics.directory import read_sums
from metrics.families import FAMILIES
from metrics.numbers import Family, Histogram, Key, Values
from monitoring.fleet import FleetReader, FleetReading
from monitoring.gauges import fleet_families

log = structlog.get_logger(__name__)

#: The fleet is read at most this often, however many scrape.
FLEET_TTL_S = 2.0


class Exposition(Collector):
    """Reads the host's files and the fleet when it is asked. Any thread may ask."""

    def __init__(
        self,
        directory: Path,
        fleet: FleetReader | None,
        *,
        most_instances: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fleet` None: this host tells of its own processes only, another one of the fleet."""
        self._directory = directory
        self._fleet = fleet
        self._most_instances = most_instances
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._read_at_s = float("-inf")
        self._reading: FleetReading | None = None
        self._is_failing = False
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its content type, as an ``Accept`` header asks."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._counted()
        if self._fleet is None:
            return
        reading = self._fleet_now(self._fleet)
        up = GaugeMetricFamily("cleanbook_state_up", "Whether the state server answers.")
        up.add_metric([], 0 if reading is None else 1)
        yield up
        if reading is not None:
            yield from fleet_families(reading, most_instances=self._most_instances)

    def _counted(self) -> Iterator[Metric]:
        sums: dict[Key, Values] = {}
        readable = GaugeMetricFamily("cleanbook_metrics_up", "Whether this host's counts can be read.")
        try:
            sums = read_sums(self._directory)
            readable.add_metric([], 1)
        except FileNotFoundError:  # nothing was counted yet
            readable.add_metric([], 1)
        except OSError as error:
            log.warning("metrics cannot be read", directory=str(self._directory), error=str(error))
            readable.add_metric([], 0)
        yield readable
        for family in FAMILIES:
            series = {key[1:]: values for key, values in sums.items() if key[0] == family.name}
            yield _family(family, series)

    def _fleet_now(self, fleet: FleetReader) -> FleetReading | None:
        """Return the fleet as it stood lately, None when the state server does not answer."""
        with self._lock:
            if self._clock_s() - self._read_at_s >= FLEET_TTL_S:
                try:
                    self._reading = fleet.read()
                except redis.RedisError as error:
                    self._reading = None
                    if not self._is_failing:
                        log.warning("state server does not answer", error=str(error))
                self._is_failing = self._reading is None
                self._read_at_s = self._clock_s()
            return self._reading


def _family(family: Family, series: dict[Key, Values]) -> Metric:
    labels = list(family.labels)
    if isinstance(family, Histogram):
        histogram = HistogramMetricFamily(family.name, family.help, labels=labels)
        bounds = [*(str(bound) for bound in family.bounds), "+Inf"]
        for key, values in _complete(family, series, numbers=len(bounds) + 1):
            histogram.add_metric(list(key), _cumulated(bounds, values), sum_value=values[-1])
        return histogram
    counter = CounterMetricFamily(family.name, family.help, labels=labels)
    for key, values in _complete(family, series, numbers=1):
        counter.add_metric(list(key), values[0])
    return counter


def _complete(family: Family, series: dict[Key, Values], *, numbers: int) -> list[tuple[Key, Values]]:
    """Return every series that can be: of what never happened, the first time would be no increase.

    What does not fit comes from a file of another version, and is left out.
    """
    labels = len(family.labels)
    found: dict[Key, Values] = {key: [0.0] * numbers for key in product(*family.labels.values())}
    found |= {k: values for k, values in series.items() if (len(k), len(values)) == (labels, numbers)}
    return sorted(found.items())


def _cumulated(bounds: list[str], values: Values) -> list[tuple[str, float]]:
    found, so_far = [], 0.0
    for bound, count in zip(bounds, values[:-1], strict=True):
        so_far += count
        found.append((bound, so_far))
    return found
