"""The raw chain that iterations are compared with: a Celery task that writes two values and sends itself.

Run by `iteration_cost.py` as `celery -A bench.raw_chain worker`, with the worker's settings of
celeryconfig.py and Celery's own classes in place of ours: no gate, no sweep, no logging, no signals.
"""

from __future__ import annotations

import gc
import json
import os
import time
from array import array
from pathlib import Path
from typing import Any

import redis
from celery import Celery, Task
from celery.signals import worker_process_shutdown, worker_ready

import celeryconfig

QUEUE = "raw"
#: Folder for what each pool process has seen.
FOLDER_VARIABLE = "BENCH_RAW_FOLDER"
#: Of celeryconfig.py: everything that says how a worker works, nothing that says what it runs.
SHARED = (
    *("broker_url", "broker_transport_options", "task_serializer", "accept_content", "result_backend"),
    *("task_ignore_result", "task_acks_late", "worker_prefetch_multiplier", "worker_send_task_events"),
    *("task_send_sent_event", "timezone", "enable_utc", "broker_connection_retry_on_startup"),
)

app = Celery("raw")
app.conf.update({name: getattr(celeryconfig, name) for name in SHARED})
app.conf.task_default_queue = QUEUE

_client = redis.Redis.from_url(celeryconfig.broker_url, decode_responses=True)
#: When each iteration began, and how late, ms.
_began_ms = array("d")
_late_ms = array("d")


@app.task(name="bench.raw_chain.step", bind=True)
def step(self: Task, chain: str, tick: int, due_ms: float, interval_ms: float, until_ms: float) -> None:
    """Write two values and send the next one, at a fixed rate, until it is time to end."""
    now_ms = time.time() * 1000
    _began_ms.append(now_ms)
    _late_ms.append(now_ms - due_ms)
    _client.set(f"raw:{chain}:tick", tick)
    _client.set(f"raw:{chain}:at", now_ms)
    due_ms = max(due_ms + interval_ms, now_ms)
    if due_ms < until_ms:
        self.apply_async(
            (chain, tick + 1, due_ms, interval_ms, until_ms),
            countdown=(due_ms - now_ms) / 1000,
            retry=False,
        )


@app.task(name="bench.raw_chain.begin")
def begin(run: str, count: int, interval_ms: float, begin_ms: float, until_ms: float) -> None:
    """Send the first of so many chains, spread over an interval."""
    for number in range(count):
        due_ms = begin_ms + interval_ms * number / count
        step.apply_async(
            (f"{run}-{number}", 1, due_ms, interval_ms, until_ms), countdown=due_ms / 1000 - time.time()
        )


@worker_ready.connect
def _worker_ready(**_: Any) -> None:
    # As in tasks/signals.py.
    gc.collect()
    gc.freeze()


@worker_process_shutdown.connect
def _worker_process_shutdown(**_: Any) -> None:
    path = Path(os.environ[FOLDER_VARIABLE]) / f"{os.getpid()}.json"
    path.write_text(json.dumps([list(_began_ms), list(_late_ms)]), encoding="ascii")
