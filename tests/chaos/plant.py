"""The processes of a crash test: two servers, the exchange, three workers, a feed; each can die on its own.

    plant.tend()    restarts what a fault has killed, as a service manager would; call it often

Only the thread that made the plant starts processes: on Linux a child dies with the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cli.stack.processes import ManagedProcess, ProcessSpec, StackError, stop_together
from cli.stack.stack import ROOT
from cli.stack.valkey import ValkeyServer, free_port
from settings import Settings, load
from tests.acceptance.command import plain_environ
from tests.chaos.synced import preloaded

READY_S = 60.0
POLL_S = 0.02
#: What a service manager waits before it starts again what died (systemd's `RestartSec`).
RESTART_PAUSE_S = 1.0
#: Shorter than the defaults, in the same order, so that what a dead worker held is free within the 10 s: by
#: default an iteration's lease alone is 8 s. The hard limit stays, so that a frozen child outlives its lease.
ENVIRON = {
    "CLEANBOOK_REQUESTS_PER_MINUTE": "1000000",
    "CLEANBOOK_ITERATE_SOFT_LIMIT_S": "4",
    "CLEANBOOK_ITERATE_HARD_LIMIT_S": "10",
    "CLEANBOOK_LEASE_MS": "5000",
}
#: Three events a second in each market: enough fills, and cores left for who trades.
MARKET_SPEED = "0.3"
ITERATE = ("iterate-1", "iterate-2")
CLEANUP = "cleanup"
FEED = "feed"
GUARD = "guard"
#: Everything of ours that works, and so does not include the guard.
WORKING = (*ITERATE, CLEANUP, FEED)
#: Just over the longest lease with sweep and grace, which is the least that a guard may be told.
GUARD_AFTER_S = 8


@dataclass(kw_only=True)
class Plant:
    """Everything that runs in one crash test."""

    folder: Path
    seed: int
    #: `appendfsync` of the servers.
    fsync: str = "always"
    processes: dict[str, ManagedProcess] = field(default_factory=dict)
    #: What does not come back by itself until then (monotonic, s).
    _restart_at_s: dict[str, float] = field(default_factory=dict)
    simulator_url: str = ""
    servers: dict[str, ValkeyServer] = field(default_factory=dict)
    simulator_host: str = "127.0.0.1"
    #: Cleanups at a time.
    cleanups: int = 2

    def __post_init__(self) -> None:
        """Choose ports; nothing runs yet."""
        self.log_dir = self.folder / "logs"
        self.config_dir = self.folder / "instances"
        self.config_dir.mkdir(parents=True)
        self.journal = self.folder / "journal.jsonl"
        self.ledger_url = f"sqlite:///{self.folder / 'ledger.sqlite'}"
        self.make_servers()
        self.simulator_port = free_port()
        self.simulator_url = f"http://127.0.0.1:{self.simulator_port}"

    @property
    def environ(self) -> dict[str, str]:
        """Return what every process of ours gets."""
        return plain_environ() | {
            **ENVIRON,
            "BROKER_URL": self.url("broker"),
            "STATE_URL": self.url("state"),
            "CLEANBOOK_RUN_DIR": str(self.folder / "run"),
            "CLEANBOOK_CONFIG_DIR": str(self.config_dir),
            "CLEANBOOK_SIMULATOR_URL": self.exchange_url(),
            "CLEANBOOK_LEDGER_URL": self.ledger_url,
            "PYTHONUNBUFFERED": "1",
        }

    def settings(self) -> Settings:
        """Return how a process of ours sees this."""
        return load(self.environ)

    def make_servers(self) -> None:
        """Choose ports of the servers; nothing runs yet."""
        self.servers = {name: self._server(name) for name in ("state", "broker")}

    def start_servers(self) -> None:
        """Start the servers, and wait until they are ready. Raises `StackError`."""
        for name, server in self.servers.items():
            self.processes[name] = server.process
            server.start()
        for server in self.servers.values():
            server.wait_ready()

    def exchange_url(self) -> str:
        """Return the exchange as the processes see it."""
        return self.simulator_url

    def start_workers(self) -> None:
        """Start the workers."""
        for name in ITERATE:
            self.start_python(name, *worker(name, "iterate"))
        self.start_python(CLEANUP, *worker(CLEANUP, "cleanup", self.cleanups))

    def url(self, name: str) -> str:
        """Return the URL of `state` or `broker`."""
        return self.servers[name].url

    def start(self) -> None:
        """Start everything. Raises `StackError`; then nothing is left."""
        try:
            self.start_servers()
            self._start_simulator()
            self.start_workers()
            self.start_python(FEED, str(ROOT / "manage.py"), "feed")
            self.start_python(GUARD, str(ROOT / "manage.py"), "guard", "--after", str(GUARD_AFTER_S))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, also what is frozen."""
        users = [self.processes[n] for n in (*WORKING, GUARD) if n in self.processes]
        services = [each for each in self.processes.values() if each not in users]
        for process in self.processes.values():
            process.send(signal.SIGCONT)
        stop_together(users)
        stop_together(services)

    def tend(self) -> None:
        """Start again what has ended without being asked to, after a pause."""
        now_s = time.monotonic()
        for name, process in self.processes.items():
            if process.is_alive or not process.wanted:
                continue
            due_s = self._restart_at_s.setdefault(name, now_s + RESTART_PAUSE_S)
            if now_s >= due_s:
                del self._restart_at_s[name]
                process.restart()

    def hold_back(self, name: str, pause_s: float) -> None:
        """Let a process that has just been killed stay away for `pause_s`."""
        self._restart_at_s[name] = time.monotonic() + pause_s

    def pause(self, duration_s: float) -> None:
        """Wait, and tend."""
        self.wait_for(lambda: False, duration_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Tend until `condition` holds; False when it does not within `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline_s:
                return False
            self.tend()
            time.sleep(POLL_S)
        return True

    def is_up(self, name: str) -> bool:
        """Tell whether a process runs; it may not be ready yet."""
        return self.processes[name].is_alive

    def replace_command(self, name: str, prefix: tuple[str, ...]) -> None:
        """Let a process run behind another Python script from its next start on; none for itself alone."""
        process = self.processes[name]
        arguments = process.spec.command[process.spec.command.index("-m") :]
        process.spec = replace(process.spec, command=(sys.executable, *prefix, *arguments))

    def children(self, name: str) -> list[int]:
        """Return the pool's processes of a worker."""
        pid = self.processes[name].pid
        if pid is None or not self.is_up(name):
            return []
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            return [int(word) for word in text.split()]
        return []

    def _server(self, name: str) -> ValkeyServer:
        environ = plain_environ() | (preloaded(self.folder) if name == "state" else {})
        server = ValkeyServer(self.folder / name, environ=environ, log_dir=self.log_dir, fsync=self.fsync)
        server.process.spec = replace(server.process.spec, name=name)
        server.process.log_file = self.log_dir / f"{name}.log"
        return server

    def _start_simulator(self) -> None:
        port_file = self.folder / "simulator.port"
        self.start_python(
            "simulator",
            *(
                "-m",
                "simulator",
                "--host",
                self.simulator_host,
                "--port",
                str(self.simulator_port),
                "--port-file",
                str(port_file),
            ),
            *("--journal", str(self.journal), "--seed", str(self.seed)),
            *("--partial-percent", "40", "--rate-per-min", "1000000", "--speed", MARKET_SPEED),
        )
        if not self.wait_for(port_file.exists, READY_S):
            raise StackError(f"the simulated exchange: {self.processes['simulator'].tail()}")

    def start_python(self, name: str, *arguments: str) -> None:
        """Start a process of ours."""
        spec = ProcessSpec(name=name, command=(sys.executable, *arguments), environ=self.environ, cwd=ROOT)
        self.processes[name] = ManagedProcess(spec, self.log_dir)
        self.processes[name].start()


def worker(name: str, queue: str, processes: int = 2) -> tuple[str, ...]:
    """Return the arguments of a worker of a queue."""
    return (
        *("-m", "celery", "-A", "tasks", "worker", "-Q", queue, "-c", str(processes), "-n", f"{name}@%h"),
        *("--without-gossip", "--without-mingle"),
    )


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def now_ms() -> int:
    """Return the time of this machine: the exchange's and the state server's, too."""
    return time.time_ns() // 1_000_000
