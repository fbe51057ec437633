"""Start, watch, restart and end child processes, and never leave one behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.language import tr

CHILD = Path(__file__).with_name("child.py")
#: How often the supervisor looks at its children.
WATCH_S = 0.1
#: Wait before the first restart; doubled for each further one.
FIRST_BACKOFF_S = 0.3
LONGEST_BACKOFF_S = 10.0
#: After this long without trouble, the back-off begins anew.
STEADY_S = 30.0
#: How long the system may take to end what was killed.
KILL_WAIT_S = 5.0


class StackError(Exception):
    """Raised when a process of the stack cannot be started or does not become ready; says what to look at."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """How to run one process."""

    #: Short and unique: also the name of its log file.
    name: str
    command: tuple[str, ...]
    #: The child's whole environment. Holds secrets.
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    #: How long it may take to end by itself after SIGTERM.
    stop_timeout_s: float = 10.0


class ManagedProcess:
    """One child in a process group of its own, with its output in a log file."""

    def __init__(self, spec: ProcessSpec, log_dir: Path) -> None:
        self.spec = spec
        self.log_file = log_dir / f"{spec.name}.log"
        #: False once somebody here asked for its end: then it is not restarted.
        self.wanted = False
        self._popen: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Return the name it was given."""
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """Return its process id, None before the first start."""
        return self._popen.pid if self._popen else None

    @property
    def exit_code(self) -> int | None:
        """Return how it ended (negative: by that signal), None while it runs or before it started."""
        with self._lock:
            return self._collect()

    @property
    def is_alive(self) -> bool:
        """Tell whether it runs."""
        with self._lock:
            return self._popen is not None and self._collect() is None

    def start(self) -> None:
        """Start it, unless it runs. Raises `StackError` when the program cannot be run."""
        with self._lock:
            self.wanted = True
            if self.is_alive:
                return
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-I", "-S", str(CHILD), str(os.getpid()), *self.spec.command]
            try:
                with self.log_file.open("ab") as log:
                    self._popen = subprocess.Popen(
                        command,
                        cwd=self.spec.cwd,
                        env=dict(self.spec.environ),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        # A session of its own: Ctrl-C in the terminal ends the stack in order.
                        start_new_session=True,
                    )
            except OSError as error:
                text = tr("{name} cannot be started: {error}", name=self.name, error=error)
                raise StackError(text) from error

    def restart(self) -> bool:
        """Start it again unless somebody asked for its end meanwhile; return whether it was started."""
        with self._lock:
            if not self.wanted:
                return False
            self.start()
            return True

    def release(self) -> None:
        """Let it end: from now on no supervisor restarts it."""
        with self._lock:
            self.wanted = False

    def send(self, signal_number: int) -> None:
        """Send a signal to the process itself, not to its children; nothing happens when it has ended."""
        with self._lock:
            if self._popen and self._collect() is None:
                self._popen.send_signal(signal_number)

    def kill(self) -> None:
        """End it and its children at once (SIGKILL). A watching supervisor takes that for a crash."""
        with self._lock:
            if self._popen and self._collect() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
        self.wait(KILL_WAIT_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; False when it still runs after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        pause = threading.Event()
        while self.is_alive:
            if time.monotonic() >= deadline_s:
                return False
            pause.wait(0.01)
        return True

    def stop(self) -> bool:
        """End it: SIGTERM, then SIGKILL to its whole group. Return whether it ended by itself."""
        return stop_together([self])

    def tail(self, lines: int = 15) -> str:
        """Return the end of its log."""
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def _collect(self) -> int | None:
        """Return the exit code if it has ended; then its children that are left are killed first.

        Its group is killed while the process is a zombie, since only then its number is surely still its own.
        """
        popen = self._popen
        if popen is None:
            return None
        if popen.returncode is None and _has_ended(popen):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
        return popen.returncode


def stop_together(processes: Iterable[ManagedProcess]) -> bool:
    """End several processes at the same time. Return whether all of them ended by themselves."""
    asked = list(processes)
    for process in asked:
        process.release()
    running = [process for process in asked if process.is_alive]
    for process in running:
        process.send(signal.SIGTERM)
    started_s = time.monotonic()
    by_themselves = True
    for process in running:
        left_s = max(0.0, started_s + process.spec.stop_timeout_s - time.monotonic())
        if not process.wait(left_s):
            by_themselves = False
            process.kill()
    return by_themselves


class Supervisor:
    """Restarts processes that end without being asked to, waiting longer each time."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` gets one sentence about each unexpected end and each restart, from another thread."""
        self._tell = tell
        self._watched: list[_Watched] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def watch(self, process: ManagedProcess) -> None:
        """Restart `process` from now on when it ends by itself."""
        self._watched.append(_Watched(process=process))
        # The thread outlives every child it starts: on Linux a child dies with the thread that started it.
        if not self._thread.is_alive() and not self._ended.is_set():
            self._thread.start()

    def end(self) -> None:
        """Stop watching; call it after the processes have ended."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=KILL_WAIT_S)

    def _run(self) -> None:
        while not self._ended.wait(WATCH_S):
            for watched in tuple(self._watched):
                self._look_at(watched)

    def _look_at(self, watched: _Watched) -> None:
        process, now_s = watched.process, time.monotonic()
        if process.is_alive or not process.wanted:
            if now_s - watched.started_s > STEADY_S:
                watched.restarts = 0
            return
        if watched.restart_at_s is None:
            wait_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**watched.restarts)
            watched.restart_at_s = now_s + wait_s
            self._tell(
                tr(
                    "{name} ended unexpectedly ({how}); restart in {time} s",
                    name=process.name,
                    how=_ending(process),
                    time=f"{wait_s:.1f}",
                )
            )
        elif now_s >= watched.restart_at_s:
            watched.restart_at_s = None
            watched.restarts += 1
            watched.started_s = now_s
            try:
                if process.restart():
                    self._tell(tr("{name} restarted (process {pid})", name=process.name, pid=process.pid))
            except StackError as error:
                self._tell(str(error))


@dataclass(kw_only=True)
class _Watched:
    process: ManagedProcess
    restarts: int = 0
    started_s: float = field(default_factory=time.monotonic)
    restart_at_s: float | None = None


def _has_ended(popen: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return popen.poll() is not None
    try:
        found = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # collected by somebody else
        return True
    return found is not None


def _ending(process: ManagedProcess) -> str:
    code = process.exit_code
    if code is not None and code < 0:
        return tr("signal {number}, see {file}", number=-code, file=process.log_file)
    return tr("exit code {code}, see {file}", code=code, file=process.log_file)
