"""The whole stack as one object: which processes, their ports and environment, and when they are ready.

    with Stack(StackOptions(run_dir=Path(".run"))) as stack:
        context = open_context(stack.settings())

Start order is valkey, simulator, workers, feed, guard, alerts, dashboard, Flower, metrics; the end
comes in reverse.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import redis

from cli.flower import LOOKS
from cli.language import tr
from cli.stack.processes import ManagedProcess, ProcessSpec, StackError, Supervisor, stop_together
from cli.stack.signals import finishing_first
from cli.stack.valkey import ValkeyServer, free_port, is_listening
from settings import LEDGER_FILE, STACK_FILE, Settings, environment, load
from state import keys
from state.connection import connect
from state.events import Events
from state.queues import needed_queues

#: The checkout: where `celery -A tasks` finds its packages.
ROOT = Path(__file__).resolve().parents[2]
ITERATE_WORKER = "celery -A tasks worker -X cleanup -c 2 -n iterate@%h --without-gossip --without-mingle"
#: A cleanup waits for the exchange most of its time.
CLEANUP_WORKER = "celery -A tasks worker -Q cleanup -c 4 -n cleanup@%h --without-gossip --without-mingle"
FLOWER = f"celery -A tasks flower --address=127.0.0.1 {' '.join(LOOKS)}"
READY_TIMEOUT_S = 30.0
FLOWER_USER = "demo"
#: What works with the server and the exchange, and so ends before them.
USERS = ("metrics", "web", "flower", "alerts", "guard", "feed", "iterate", "cleanup")


def _say_nothing(_: str) -> None:
    """Take what nobody asked to hear."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What to run and where."""

    #: `stack.json` is written here, and data and logs unless `data_dir` says otherwise.
    run_dir: Path
    #: Data and logs; default `run_dir`.
    data_dir: Path | None = None
    #: Instance files for the workers.
    config_dir: Path = Path("config/active")
    #: Begin without the data of an earlier stack.
    fresh: bool = False
    #: Start our own Valkey; otherwise `BROKER_URL` of `environ` is used.
    server: bool = True
    #: Its ``appendfsync``.
    server_fsync: str = "always"
    simulator: bool = True
    #: More arguments for `python -m simulator`.
    simulator_arguments: tuple[str, ...] = ()
    workers: bool = True
    #: Listen to the exchange, and keep a ledger.
    feed: bool = True
    #: Cancel what is left when workers die and stay dead.
    guard: bool = False
    #: Tell people what goes wrong, by the rules in this file; None: nobody is told.
    alerts_file: Path | None = None
    flower: bool = False
    #: Dashboard and HTTP API, at this port if it is free.
    web: bool = False
    web_port: int = 8700
    #: Serve numbers for Prometheus.
    metrics: bool = False
    #: Restart what ends unexpectedly.
    supervise: bool = True
    #: What the children inherit; default: this process's environment.
    environ: Mapping[str, str] = field(default_factory=environment, repr=False)
    #: Gets one sentence for each thing a user may want to know, possibly from another thread.
    tell: Callable[[str], None] = _say_nothing


class Stack:
    """A running stack. `start` raises `StackError` when something does not come up; then nothing is left."""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.data_dir = (options.data_dir or options.run_dir).resolve()
        self.log_dir = self.data_dir / "logs"
        #: Every process by its name: valkey, simulator, iterate, cleanup, and the others by their commands.
        self.processes: dict[str, ManagedProcess] = {}
        self.server: ValkeyServer | None = None
        self.broker_url = ""
        self.simulator_url = ""
        self.flower_url = ""
        self.flower_password = ""
        self.web_url = ""
        self.metrics_url = ""
        self._stack_file = options.run_dir.resolve() / STACK_FILE
        self._supervisor = Supervisor(options.tell)

    @property
    def ledger_url(self) -> str:
        """Return where the ledger is kept: the user's own database, or a file beside the stack's data."""
        return self.options.environ.get("CLEANBOOK_LEDGER_URL") or f"sqlite:///{self.data_dir / LEDGER_FILE}"

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def settings(self) -> Settings:
        """Return the settings with which this process sees the stack."""
        return load(self._environ())

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        self._claim_stack_file()
        try:
            if self.options.fresh:
                shutil.rmtree(self.data_dir / "valkey", ignore_errors=True)
                for ledger in self.data_dir.glob(f"{LEDGER_FILE}*"):
                    ledger.unlink()
            shutil.rmtree(self.log_dir, ignore_errors=True)
            self._start_server()
            if self.options.simulator:
                self._start_simulator()
            self._write_stack_file()
            wanted = (
                (self.options.workers, self._start_workers),
                (self.options.feed, self._start_feed),
                (self.options.guard, self._start_guard),
                (self.options.alerts_file is not None, self._start_alerts),
                (self.options.web, self._start_web),
                (self.options.flower, self._start_flower),
                (self.options.metrics, self._start_metrics),
            )
            for is_wanted, begin in wanted:
                if is_wanted:
                    begin()
            # Only now: what cannot even start is reported, not restarted.
            for process in self.processes.values() if self.options.supervise else ():
                self._supervisor.watch(process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """End everything, whatever signals arrive meanwhile. Return whether every process ended by itself."""
        users = [self.processes[name] for name in USERS if name in self.processes]
        services = [self.processes[name] for name in ("simulator", "valkey") if name in self.processes]
        with finishing_first():
            by_themselves = stop_together(users)
            by_themselves = stop_together(services) and by_themselves
            self._supervisor.end()
            self._stack_file.unlink(missing_ok=True)
        return by_themselves

    def _environ(self) -> dict[str, str]:
        environ = dict(self.options.environ)
        environ.update(
            BROKER_URL=self.broker_url,
            CLEANBOOK_RUN_DIR=str(self.options.run_dir.resolve()),
            CLEANBOOK_CONFIG_DIR=str(self.options.config_dir.resolve()),
            # Logs appear when they are written.
            PYTHONUNBUFFERED="1",
            CLEANBOOK_LEDGER_URL=self.ledger_url,
        )
        if self.options.server:
            environ.pop("STATE_URL", None)
        if self.simulator_url:
            environ["CLEANBOOK_SIMULATOR_URL"] = self.simulator_url
        return environ

    def _start(self, process: ManagedProcess) -> None:
        self.processes[process.name] = process
        process.start()

    def _run(self, name: str, command: str | tuple[str, ...], **more: str) -> ManagedProcess:
        """Start a Python module: `command` begins with its name."""
        words = tuple(command.split()) if isinstance(command, str) else command
        return self._run_python(name, ("-m", *words), **more)

    def _run_python(self, name: str, arguments: tuple[str, ...], **more: str) -> ManagedProcess:
        spec = ProcessSpec(
            name=name, command=(sys.executable, *arguments), environ={**self._environ(), **more}, cwd=ROOT
        )
        process = ManagedProcess(spec, self.log_dir)
        self._start(process)
        return process

    def _start_server(self) -> None:
        if not self.options.server:
            self.broker_url = load(self.options.environ).broker_url
            return
        minimal = {
            name: value for name, value in self.options.environ.items() if name in ("PATH", "LANG", "TZ")
        }
        self.server = ValkeyServer(
            self.data_dir / "valkey",
            environ=minimal,
            log_dir=self.log_dir,
            fsync=self.options.server_fsync,
        )
        self.broker_url = self.server.url
        self._start(self.server.process)
        self.server.wait_ready()

    def _start_simulator(self) -> None:
        port = free_port()
        port_file = self.data_dir / "simulator.port"
        port_file.unlink(missing_ok=True)
        journal = self.data_dir / "journal.jsonl"
        journal.unlink(missing_ok=True)
        self.simulator_url = f"http://127.0.0.1:{port}"
        process = self._run(
            "simulator",
            (
                *("simulator", "--port", str(port), "--port-file", str(port_file), "--journal", str(journal)),
                *self.options.simulator_arguments,
            ),
        )
        self._wait_for(lambda: port_file.exists(), (process,), tr("the simulated exchange"))

    def _start_workers(self) -> None:
        with connect(self.broker_url) as client:
            # An earlier stack's heartbeats are in the data we began with.
            client.delete(keys.WORKERS)
            processes = (self._run("cleanup", CLEANUP_WORKER), self._run("iterate", ITERATE_WORKER))
            self._wait_for(lambda: _are_served(_serving(client)), processes, tr("the workers"))

    def _start_feed(self) -> None:
        with connect(self.broker_url) as client:
            # An earlier stack's heartbeat is in the data we began with.
            client.delete(keys.FEEDS)
            process = self._run_python("feed", (str(ROOT / "manage.py"), "feed"))
            self._wait_for(lambda: client.exists(keys.FEEDS) == 1, (process,), tr("the feed"))

    def _start_guard(self) -> None:
        with connect(self.broker_url) as client:
            client.delete(keys.GUARDS)
            process = self._run_python("guard", (str(ROOT / "manage.py"), "guard"))
            self._wait_for(lambda: client.exists(keys.GUARDS) == 1, (process,), tr("the guard"))

    def _start_web(self) -> None:
        port = free_port(self.options.web_port)
        self.web_url = f"http://127.0.0.1:{port}"
        own = {"CLEANBOOK_WEB_HOST": "127.0.0.1", "CLEANBOOK_WEB_PORT": str(port)}
        process = self._run("web", "web", **own)
        self._wait_for(lambda: is_listening(port), (process,), tr("the dashboard"))
        self._write_stack_file()

    def _start_alerts(self) -> None:
        assert self.options.alerts_file is not None
        rules = str(self.options.alerts_file.resolve())
        with connect(self.broker_url) as client:
            client.delete(keys.ALERTS_LEASE)
            process = self._run_python(
                "alerts", (str(ROOT / "manage.py"), "alerts"), CLEANBOOK_ALERTS_FILE=rules
            )
            self._wait_for(lambda: client.exists(keys.ALERTS_LEASE) == 1, (process,), tr("the alerts"))

    def _start_flower(self) -> None:
        port = free_port()
        self.flower_password = secrets.token_urlsafe(12)
        self.flower_url = f"http://127.0.0.1:{port}"
        # Through the environment: anybody on the machine can read a command line.
        self._run(
            "flower", f"{FLOWER} --port={port}", FLOWER_BASIC_AUTH=f"{FLOWER_USER}:{self.flower_password}"
        )
        self._write_stack_file()

    def _start_metrics(self) -> None:
        port = free_port()
        self.metrics_url = f"http://127.0.0.1:{port}/metrics"
        self._run_python("metrics", (str(ROOT / "manage.py"), "metrics", f"--port={port}"))

    def _wait_for(
        self, is_ready: Callable[[], bool], processes: tuple[ManagedProcess, ...], what: str
    ) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        pause = threading.Event()
        while not is_ready():
            ended = [process for process in processes if not process.is_alive]
            if ended or time.monotonic() >= deadline_s:
                blamed = ended[0] if ended else processes[-1]
                why = tr("not ready after {time} s", time=f"{READY_TIMEOUT_S:.0f}")
                if ended:
                    why = tr("ended at once")
                text = tr("{what}: {why}; {file} ends with:", what=what, why=why, file=blamed.log_file)
                raise StackError(f"{text}\n{blamed.tail()}")
            pause.wait(0.02)

    def _claim_stack_file(self) -> None:
        """Take the run directory for this process. Raises `StackError` when another stack has it."""
        self._stack_file.parent.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                descriptor = os.open(self._stack_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pid = _living_owner(self._stack_file)
                if pid is not None:
                    raise StackError(
                        tr(
                            "a stack already runs in this checkout (process {pid}, {file}); "
                            "end it first, or set CLEANBOOK_RUN_DIR to another directory",
                            pid=pid,
                            file=self._stack_file,
                        )
                    ) from None
                self._stack_file.unlink(missing_ok=True)
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"pid": os.getpid()}, file)
            return
        raise StackError(tr("{file} keeps changing; try again", file=self._stack_file))

    def _write_stack_file(self) -> None:
        content = {
            "pid": os.getpid(),
            "broker_url": self.broker_url,
            "simulator_url": self.simulator_url,
            "ledger_url": self.ledger_url,
            "web_url": self.web_url,
            "flower_url": self.flower_url,
            "flower_user": FLOWER_USER if self.flower_url else "",
            "flower_password": self.flower_password,
        }
        draft = self._stack_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file, indent=1)
        draft.replace(self._stack_file)


def _serving(client: redis.Redis) -> set[str]:
    """Return the queues that living workers serve."""
    seconds, _ = client.time()
    workers = Events(client).workers(now_ms=int(seconds) * 1000)
    return {queue for worker in workers for queue in worker.queues}


def _are_served(served: set[str]) -> bool:
    return served >= set(needed_queues(served))


def _living_owner(path: Path) -> int | None:
    """Return the process that wrote the stack file, None when it is gone."""
    try:
        pid = int(json.loads(path.read_text(encoding="utf-8"))["pid"])
        os.kill(pid, 0)
    except PermissionError:  # somebody else's process
        return pid
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid
