"""Ask the exchange several things at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

#: Requests at the same time. What has more to ask, and a lease to renew, asks in rounds of so many.
MOST_AT_ONCE = 8

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")


def in_parallel(ask: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield the answer to each item, in their order. Raises what `ask` raised, at the place of its item."""
    if len(items) < 2:
        yield from map(ask, items)
        return
    pool = ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(items)))
    try:
        yield from pool.map(ask, items)
    finally:
        # An interrupted task must not wait for requests that hang.
        pool.shutdown(wait=False, cancel_futures=True)


def both(one: Callable[[], A], other: Callable[[], B]) -> tuple[A, B]:
    """Return two answers that were asked for at the same time. Raises what the first of them raised."""
    first, second = in_parallel(lambda ask: ask(), cast("list[Callable[[], Any]]", [one, other]))
    return first, second
