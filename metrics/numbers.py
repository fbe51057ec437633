"""What a process has counted so far, and the two ways of counting."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Name of a family and the values of its labels.
Key = tuple[str, ...]
#: Of a counter the count; of a histogram the number of values in each bucket and beyond, then their sum.
Values = list[float]

#: What a label says that is none of its known values.
OTHER = "other"


class Numbers:
    """Everything counted by one process. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[Key, Values] = {}
        #: Grows with every count: whoever saved an older state has something to save.
        self.changes = 0

    def add(self, key: Key, amount: float) -> None:
        """Add to a counter."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                found = self._values[key] = [0.0]
            found[0] += amount
            self.changes += 1

    def observe(self, key: Key, bucket: int, buckets: int, value: float) -> None:
        """Add a value to a histogram of so many buckets, into one of them."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                found = self._values[key] = [0.0] * (buckets + 1)
            found[bucket] += 1
            found[-1] += value
            self.changes += 1

    def copy(self) -> dict[Key, Values]:
        """Return what was counted by now."""
        with self._lock:
            return {key: list(values) for key, values in self._values.items()}

    def forget(self) -> None:
        """Begin at nothing, also where another thread was counting when this process was forked."""
        self._lock = threading.Lock()
        self._values = {}
        self.changes = 0


#: This process's.
NUMBERS = Numbers()

# A child would count its parent's numbers a second time, and its parent's lock may be held for ever.
os.register_at_fork(after_in_child=NUMBERS.forget)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Numbers of one kind, told apart by labels of which each has few values."""

    #: As Prometheus calls it, without ``_total``.
    name: str
    help: str
    #: By name: every value that it can have; what is none of them is counted as `OTHER`.
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def key(self, values: Sequence[str]) -> Key:
        """Return the key of label values, in the order of `labels`."""
        known = self.labels.values()
        return (self.name, *(v if v in all_ else OTHER for v, all_ in zip(values, known, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Counter(Family):
    """A number that only grows."""

    def add(self, *labels: str, amount: float = 1) -> None:
        """Add to it."""
        if amount:
            NUMBERS.add(self.key(labels), amount)


@dataclass(frozen=True, kw_only=True)
class Histogram(Family):
    """How often which sizes came, for percentiles."""

    #: Upper bounds, ascending; the last bucket, without one, is not named.
    bounds: tuple[float, ...]

    def observe(self, value: float, *labels: str) -> None:
        """Count a value, seconds."""
        NUMBERS.observe(self.key(labels), bisect_left(self.bounds, value), len(self.bounds) + 1, value)
