"""What happens when a worker starts, forks and ends."""

from __future__ import annotations

import gc
from typing import Any

from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_before_create_process,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from logs import configure
from metrics.keeping import keep, keep_last
from settings import load
from tasks.last_resort import LastResort
from tasks.logging import bind_task, clear_task
from tasks.sweep import Sweeper

_sweepers: list[Sweeper] = []
_last_resorts: list[LastResort] = []

#: Left to Celery after the longest task that is shutting down must have ended.
TIME_TO_END_S = 2.0


@setup_logging.connect
def _setup_logging(**_: Any) -> None:
    configure(load())


@worker_before_create_process.connect
def _worker_before_create_process(**_: Any) -> None:
    # The collector writes on every object that it looks at, here and in the child, so that each would have a
    # copy of all that was imported. Only at the start: what is pending by now will be garbage later.
    if not _sweepers:
        gc.collect()
        gc.freeze()


@worker_process_init.connect
def _worker_process_init(**_: Any) -> None:
    # One that takes the place of another was forked with more.
    gc.freeze()
    keep(load().metrics_dir)


@worker_process_shutdown.connect
def _worker_process_shutdown(**_: Any) -> None:
    keep_last()


@worker_ready.connect
def _worker_ready(sender: Any, **_: Any) -> None:
    # Also sent after each reconnect to the broker: one sweeper is enough.
    if _sweepers:
        return
    keep(load().metrics_dir)
    # The collector's full passes over what was imported stall the main process for tens of ms.
    gc.collect()
    gc.freeze()
    sweeper = Sweeper(sender.hostname, tuple(str(name) for name in sender.app.amqp.queues.consume_from))
    sweeper.start()
    _sweepers.append(sweeper)
    _last_resorts.append(LastResort(after_s=load().iterate_hard_limit_s + TIME_TO_END_S))


@worker_shutting_down.connect
def _worker_shutting_down(**_: Any) -> None:
    # Inside a signal handler, so it only asks: from now on the others sweep, and this worker serves no queue.
    for last_resort in _last_resorts:
        last_resort.shutdown_asked()
    for sweeper in _sweepers:
        sweeper.end()


@worker_shutdown.connect
def _worker_shutdown(**_: Any) -> None:
    while _sweepers:
        _sweepers.pop().stop()
    keep_last()


@task_prerun.connect
def _task_prerun(task_id: str, task: Any, args: Any, **_: Any) -> None:
    bind_task(task_id, task.name, args)


@task_postrun.connect
def _task_postrun(**_: Any) -> None:
    clear_task()
