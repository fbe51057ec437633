"""Threads for requests that close a gate: a ledger or an exchange that hangs holds up all others' threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_threads = ThreadPoolExecutor(16, thread_name_prefix="gate")


def in_own_thread(path: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return `path` for the event loop, so that it waits for none of the threads that other paths use."""

    @wraps(path)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(_threads, partial(path, *args, **kwargs))

    return run
