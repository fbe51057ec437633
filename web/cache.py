"""Answers that take long to work out, kept for some seconds; who asks meanwhile waits for the one at work."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

#: An answer is good for this long, or for this many times what it took.
LEAST_AGE_S = 2.0
AGE_PER_EFFORT = 5.0
MOST_KEPT = 2000


class Cache(Generic[T]):
    """Answers by key. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Answer[T]] = OrderedDict()

    def get(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what `work` returned for `key`, at most some seconds ago; raises what it raises."""
        with self._lock:
            answer = self._kept.setdefault(key, _Answer())
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return answer.get(work)


class _Answer(Generic[T]):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: list[T] = []
        self._good_until_s = 0.0

    def get(self, work: Callable[[], T]) -> T:
        with self._lock:
            if not self._value or time.monotonic() >= self._good_until_s:
                began_s = time.monotonic()
                self._value = [work()]
                ended_s = time.monotonic()
                age_s = max(LEAST_AGE_S, AGE_PER_EFFORT * (ended_s - began_s))
                self._good_until_s = ended_s + age_s
            return self._value[0]
