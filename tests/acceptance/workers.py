"""Workers beside those of the stack, and the signals that end them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis
from celery import Celery

from cli.stack.processes import ManagedProcess
from state import keys
from tests.acceptance.world import DEADLINE_S, World, eventually

#: Within this a worker that was asked to end has to be gone: what supervisors are told to wait.
LONGEST_SHUTDOWN_S = 15.0


class Worker:
    """One worker process with its children, and what it has logged since a moment."""

    def __init__(self, world: World, process: ManagedProcess) -> None:
        self.world = world
        self.process = process
        self.pid = process.pid
        self._logged = 0
        self.note_log()

    @property
    def hostname(self) -> str:
        """Return what Celery calls it."""
        words = self.process.spec.command
        name = words[words.index("-n") + 1]
        return name.replace("%h", os.uname().nodename)

    def note_log(self) -> None:
        """Forget what it has logged so far."""
        self._logged = self.process.log_file.stat().st_size if self.process.log_file.exists() else 0

    @property
    def log(self) -> str:
        """Return what it has logged since."""
        with self.process.log_file.open("rb") as file:
            file.seek(self._logged)
            return file.read().decode(errors="replace")

    def iterations(self) -> list[dict[str, Any]]:
        """Return what it has logged since of each iteration that ended."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "iteration"]

    def children(self) -> list[int]:
        """Return its pool's processes."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def signal_group(self, number: int) -> None:
        """Send a signal to the main process and its children, as a terminal does."""
        assert self.pid is not None
        os.killpg(self.pid, number)

    @property
    def has_ended(self) -> bool:
        """Tell whether it is gone; a supervisor may have started another in its place."""
        return self.process.pid != self.pid or not self.process.is_alive

    def wait_ended(self) -> float:
        """Return how long it takes from now until it is gone, s. Fails where a supervisor would kill it."""
        began_s = time.monotonic()
        eventually(lambda: self.has_ended, LONGEST_SHUTDOWN_S, what=f"the end of {self.hostname}")
        return time.monotonic() - began_s

    def wait_ready(self) -> None:
        """Return once it is on the list of living workers."""

        def is_listed() -> bool:
            context = self.world.context
            workers = context.events.workers(now_ms=context.instances.now_ms(), within_ms=2_500)
            return self.hostname in {worker.name for worker in workers}

        # A start takes seconds of a core, which a busy machine gives in small pieces.
        eventually(is_listed, 60, what=f"{self.hostname} on the list of workers")


@contextmanager
def second_worker(world: World, queue: str) -> Iterator[Worker]:
    """Run another worker of a queue, which ends with the block."""
    spec = world.stack.processes[queue].spec
    name = f"{queue}2"
    command = tuple(word.replace(f"{queue}@", f"{name}@") for word in spec.command)
    process = ManagedProcess(replace(spec, name=name, command=command), world.stack.log_dir)
    process.start()
    worker = Worker(world, process)
    try:
        worker.wait_ready()
        yield worker
    finally:
        process.stop()


@contextmanager
def two_workers(world: World, queue: str) -> Iterator[tuple[Worker, Worker]]:
    """Yield the stack's worker of a queue and another one, both ready; the other ends with the block."""
    with second_worker(world, queue) as other:
        first = Worker(world, world.stack.processes[queue])
        first.wait_ready()
        yield first, other


def active_tasks(app: Celery, hostname: str) -> list[dict[str, Any]]:
    """Return the tasks that a worker says it runs, none where it cannot be asked at this moment.

    Celery keeps connections from test to test, also over a restart of the server: the first use of one fails.
    """
    try:
        told = app.control.inspect([hostname], timeout=0.3).active() or {}
    except redis.ConnectionError:
        return []
    return list(told.get(hostname, ()))


def look_for_iteration(
    world: World, instance_id: str, workers: tuple[Worker, ...], within_s: float
) -> tuple[Worker, str] | None:
    """Return the worker that runs an iteration of the instance now, and the task's id; None: not in time."""
    end_s = time.monotonic() + within_s
    with Celery(broker=world.stack.broker_url) as app:
        while time.monotonic() < end_s:
            wanted = world.context.client.hget(keys.record(instance_id), "running_task_id")
            for worker in workers:
                if any(task["id"] == wanted for task in active_tasks(app, worker.hostname)):
                    worker.note_log()
                    return worker, str(wanted)
    return None


def who_iterates(world: World, instance_id: str, workers: tuple[Worker, ...]) -> tuple[Worker, str]:
    """Return the worker that runs an iteration of the instance, and the task's id."""
    found = look_for_iteration(world, instance_id, workers, DEADLINE_S)
    assert found is not None, f"no worker says that it runs an iteration of {instance_id}"
    return found


def term_main(worker: Worker, _: str) -> None:
    """End it as Kubernetes does, and systemd with `KillMode=mixed`: SIGTERM to the main process."""
    worker.process.send(signal.SIGTERM)


def term_group(worker: Worker, _: str) -> None:
    """End it as honcho does, and systemd by default: SIGTERM to every process."""
    worker.signal_group(signal.SIGTERM)


def ctrl_c(worker: Worker, _: str) -> None:
    """Press Ctrl-C in its terminal: SIGINT to every process."""
    worker.signal_group(signal.SIGINT)


def terminate_task(worker: Worker, task_id: str) -> None:
    """Press "Terminate" in Flower: SIGTERM to the child that runs the task."""
    with Celery(broker=worker.world.stack.broker_url) as app:
        app.control.revoke(task_id, terminate=True)


#: Every way in which people and supervisors end work, and whether the worker ends too.
WAYS = {
    "SIGTERM to the main process": (term_main, True),
    "SIGTERM to the group": (term_group, True),
    "Ctrl-C": (ctrl_c, True),
    "Terminate in Flower": (terminate_task, False),
}
