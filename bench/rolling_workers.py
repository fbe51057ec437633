"""Two ways in which people keep a worker: under a supervisor, and with `celery multi`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cli.stack.processes import ManagedProcess
from cli.stack.stack import ROOT, Stack
from runner.context import Context

READY_DEADLINE_S = 60.0
END_DEADLINE_S = 30.0
POLL_S = 0.02
#: What a sweep logs for each iteration that it found overdue, or woken.
SWEPT = "iteration published by sweep"


class WorkerFailed(RuntimeError):
    """Raised when a worker does not come or go as it should."""


class Worker(Protocol):
    """One worker for iterations."""

    name: str

    def start(self) -> None:
        """Start it, and return once it serves its queue."""
        ...

    def restart(self) -> float:
        """Restart it as its keeper does; return how long the old one took to end, s."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def swept(self) -> int:
        """Return how many iterations its sweep has published."""
        ...


class SupervisedWorker:
    """Ended by SIGTERM to its main process, and started anew when it is gone: systemd, Kubernetes."""

    def __init__(self, stack: Stack, context: Context, name: str) -> None:
        self.name = name
        spec = stack.processes["iterate"].spec
        command = tuple(word.replace("iterate@", f"{name}@") for word in spec.command)
        self.process = ManagedProcess(replace(spec, name=name, command=command), stack.log_dir)
        self._context = context

    def start(self) -> None:
        """Start it, and return once it serves its queue."""
        self.process.start()
        wait_until_listed(self._context, self.name, READY_DEADLINE_S)

    def restart(self) -> float:
        """Send SIGTERM, wait for the end, start another."""
        began_s = time.monotonic()
        self.process.send(signal.SIGTERM)
        if not self.process.wait(END_DEADLINE_S):
            raise WorkerFailed(f"{self.name} did not end within {END_DEADLINE_S:g} s")
        took_s = time.monotonic() - began_s
        if self.process.exit_code != 0:
            raise WorkerFailed(f"{self.name} ended with {self.process.exit_code}:\n{self.process.tail()}")
        self.start()
        return took_s

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def swept(self) -> int:
        """Return how many iterations its sweep has published."""
        return self.process.log_file.read_text(errors="replace").count(SWEPT)


class MultiWorker:
    """A daemon of `celery multi`. It is nobody's child: `stop` has to be called whatever happens."""

    def __init__(self, stack: Stack, context: Context, name: str) -> None:
        self.name = name
        self._pid_file = stack.data_dir / f"{name}.pid"
        self._log_file = stack.log_dir / f"{name}.log"
        self._environ = dict(stack.processes["iterate"].spec.environ)
        self._context = context

    def start(self) -> None:
        """Start it, and return once it serves its queue."""
        self._multi("start")
        wait_until_listed(self._context, self.name, READY_DEADLINE_S)

    def restart(self) -> float:
        """Let `celery multi` end it and start another; return how long the old one took to end."""
        old, began_s = self._pid(), time.monotonic()
        command = self._command("restart")
        with subprocess.Popen(
            command, cwd=ROOT, env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        ) as running:
            while _is_alive(old):
                if time.monotonic() > began_s + END_DEADLINE_S:
                    raise WorkerFailed(f"{self.name} did not end within {END_DEADLINE_S:g} s")
                time.sleep(POLL_S)
            took_s = time.monotonic() - began_s
            if running.wait(READY_DEADLINE_S) != 0:
                raise WorkerFailed(f"{' '.join(command)} failed")
        wait_until_listed(self._context, self.name, READY_DEADLINE_S)
        return took_s

    def stop(self) -> None:
        """End it, by force where it does not end."""
        if not self._pid_file.exists():
            return
        pid = self._pid()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        end_s = time.monotonic() + END_DEADLINE_S
        while _is_alive(pid) and time.monotonic() < end_s:
            time.sleep(POLL_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def swept(self) -> int:
        """Return how many iterations its sweep has published."""
        return self._log_file.read_text(errors="replace").count(SWEPT) if self._log_file.exists() else 0

    def _pid(self) -> int:
        return int(self._pid_file.read_text())

    def _command(self, what: str) -> list[str]:
        options = "-A tasks -Q iterate -c 2 --without-gossip --without-mingle"
        files = [f"--pidfile={self._pid_file}", f"--logfile={self._log_file}"]
        python = [sys.executable, "-m", "celery"]
        return [*python, "multi", what, f"{self.name}@%h", *options.split(), *files]

    def _multi(self, what: str) -> None:
        subprocess.run(
            self._command(what), cwd=ROOT, env=self._environ, check=True, stdout=subprocess.DEVNULL
        )


def wait_until_listed(context: Context, name: str, deadline_s: float) -> None:
    """Return once a worker is on the list of those that live."""
    end_s = time.monotonic() + deadline_s
    while True:
        workers = context.events.workers(now_ms=context.instances.now_ms(), within_ms=2_000)
        if any(worker.name.startswith(f"{name}@") for worker in workers):
            return
        if time.monotonic() > end_s:
            raise WorkerFailed(f"{name} does not serve its queue after {deadline_s:g} s")
        time.sleep(POLL_S)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
