"""Faults of processes: killed, frozen, asked to end twice, with the wrong time, out of memory, out of CPU."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import redis

from state import keys
from tests.acceptance.simulated_exchange import EVERYTHING, fault
from tests.chaos.faults import Fault, World
from tests.chaos.plant import CLEANUP, FEED, ITERATE, WORKING, now_ms, signal_process

SKEWED = Path(__file__).with_name("skewed_clock.py")
BURNER = "while True: pass"
#: Stops that are asked for, so that a cleanup is under way.
STOPPED_AT_ONCE = 3
#: Who lives on after SIGTERM for so long is killed, as by the supervisors in docs/lifecycle.md.
TERM_TIMEOUT_S = 20
#: How long a cleanup is waited for that can be killed in its middle.
CLEANUP_WAIT_S = 3.0
#: Requests take this long while somebody is frozen or killed in the middle of them.
SLOW = {"latency_ms": 250, "spread_ms": 150}
#: A frozen child outlives its lease (5 s), and wakes up before Celery's hard limit (10 s) kills it.
ZOMBIE_S = (5.5, 8.5)
#: How long a child is looked for that waits for an answer.
BUSY_WAIT_S = 2.0
#: What was claimed longer before the freeze has ended otherwise.
LONGEST_ITERATION_MS = 3_000


@dataclass(kw_only=True)
class Killed(Fault):
    """SIGKILL of a process and, as a service manager does, of its children."""

    target: str

    def begin(self, world: World) -> None:
        """Kill it."""
        process = world.plant.processes[self.target]
        self.detail = f"{self.target}, process {process.pid}"
        process.kill()

    def is_over(self, world: World) -> bool:
        """Tell whether it has been started again."""
        return world.plant.is_up(self.target)


@dataclass(kw_only=True)
class CleanupKilled(Killed):
    """SIGKILL of the cleanup worker while it is cleaning up."""

    def begin(self, world: World) -> None:
        """Ask for some stops, let requests take their time, kill the worker once a cleanup is under way."""
        world.exchange.put_fault(id(self), [fault(EVERYTHING, "latency", **SLOW)])
        with contextlib.suppress(redis.RedisError):
            running = sorted(world.people.running())
            for name in self.dice.sample(running, k=min(STOPPED_AT_ONCE, len(running))):
                world.people.stop(name)
        state = world.state()

        def under_way() -> bool:
            with contextlib.suppress(redis.RedisError):
                return any(state.hexists(keys.record(n), "cleanup_token") for n in world.people.not_stopped())
            return False

        found = world.plant.wait_for(under_way, CLEANUP_WAIT_S)
        world.plant.pause(self.dice.uniform(0.0, 0.5))
        super().begin(world)
        self.detail += ", in the middle of a cleanup" if found else ", no cleanup was under way"
        state.close()

    def end(self, world: World) -> None:
        """Let requests be quick again."""
        world.exchange.put_fault(id(self), [])


@dataclass(kw_only=True)
class AllButGuardKilled(Fault):
    """SIGKILL of everything of ours but the guard, for long enough that the guard has to act."""

    #: Also of the servers.
    with_servers: bool

    def begin(self, world: World) -> None:
        """Kill them, and keep them away."""
        targets = (*WORKING, *(("state", "broker") if self.with_servers else ()))
        self.detail = f"{', '.join(targets)} for {self.hold_s:.0f} s"
        for name in targets:
            world.plant.processes[name].kill()
            world.plant.hold_back(name, self.hold_s)

    def is_over(self, world: World) -> bool:
        """Tell whether all have been started again."""
        return all(world.plant.is_up(name) for name in (*WORKING, "state", "broker"))


@dataclass(kw_only=True)
class ChildKilled(Fault):
    """SIGKILL of a process of a worker's pool; the worker starts another."""

    def begin(self, world: World) -> None:
        """Kill it."""
        target, pid = _busy_child(world, self.dice)
        self.detail = f"{target}, child {pid}"
        if pid:
            signal_process(pid, signal.SIGKILL)


@dataclass(kw_only=True)
class Frozen(Fault):
    """SIGSTOP, and SIGCONT when what it held has long been taken over."""

    #: A child of the pool, or the main process.
    child: bool
    _pid: int = 0
    _frozen_at_ms: int = 0

    def begin(self, world: World) -> None:
        """Freeze it, most likely in the middle of a request."""
        world.exchange.put_fault(id(self), [fault(EVERYTHING, "latency", **SLOW)])
        world.plant.pause(0.8)
        if self.child:
            target, self._pid = _busy_child(world, self.dice)
        else:
            target = self.dice.choice((*ITERATE, CLEANUP, FEED))
            self._pid = world.plant.processes[target].pid or 0
        if self._pid:
            signal_process(self._pid, signal.SIGSTOP)
        self._frozen_at_ms = now_ms()
        world.exchange.put_fault(id(self), [])
        self.detail = f"{target}, {'child' if self.child else 'process'} {self._pid}, for {self.hold_s:.1f} s"

    def end(self, world: World) -> None:
        """Let it wake up, and note what it was frozen in the middle of."""
        if self._pid:
            signal_process(self._pid, signal.SIGCONT)
        held = world.recorder.uncommitted(since_ms=self._frozen_at_ms - LONGEST_ITERATION_MS)
        self.detail += f", iterations not committed: {', '.join(held) or 'none'}"


@dataclass(kw_only=True)
class TwoTerms(Fault):
    """SIGTERM, and another one before the first has been followed."""

    target: str

    def begin(self, world: World) -> None:
        """Send both."""
        process = world.plant.processes[self.target]
        self.detail = f"{self.target}, process {process.pid}"
        process.send(signal.SIGTERM)
        world.plant.pause(self.dice.uniform(0.05, 0.6))
        process.send(signal.SIGTERM)
        if not world.plant.wait_for(lambda: not process.is_alive or process.pid is None, TERM_TIMEOUT_S):
            # As systemd does after `TimeoutStopSec`.
            process.send(signal.SIGKILL)
            self.detail += f", killed, since it was alive {TERM_TIMEOUT_S} s later"

    def is_over(self, world: World) -> bool:
        """Tell whether it has been started again."""
        return world.plant.is_up(self.target)


@dataclass(kw_only=True)
class OutOfMemory(Fault):
    """The kernel's way (SIGKILL of the largest process), or memory that cannot be had."""

    starve: bool
    _pid: int = 0
    _target: str = ""

    def begin(self, world: World) -> None:
        """Kill the largest of our processes, or let one of the pool get no more memory."""
        if self.starve:
            self._target, self._pid = _some_child(world, self.dice, ITERATE)
            self._limit(_address_space(self._pid))
            self.detail = f"{self._target}, child {self._pid} gets no more memory for {self.hold_s:.1f} s"
            return
        pids = {pid: n for n in ITERATE for pid in (world.plant.processes[n].pid, *world.plant.children(n))}
        self._pid = max((pid for pid in pids if pid), key=_resident, default=0)
        self._target = pids.get(self._pid, "")
        self.detail = f"{self._target}, process {self._pid}, SIGKILL as the largest"
        if self._target and self._pid == world.plant.processes[self._target].pid:
            world.plant.processes[self._target].kill()
        elif self._pid:
            signal_process(self._pid, signal.SIGKILL)

    def end(self, world: World) -> None:
        """Let it have memory again."""
        if self.starve:
            self._limit(resource.RLIM_INFINITY)

    def is_over(self, world: World) -> bool:
        """Tell whether the worker runs."""
        return not self._target or world.plant.is_up(self._target)

    def _limit(self, limit: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                resource.prlimit(self._pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


@dataclass(kw_only=True)
class WrongClock(Fault):
    """A worker whose clock is half a minute off, from its start to its end."""

    target: str
    offset_s: float

    def begin(self, world: World) -> None:
        """Start the worker anew with the wrong time."""
        self.detail = f"{self.target} at {self.offset_s:+.0f} s for {self.hold_s:.0f} s"
        world.plant.replace_command(self.target, (str(SKEWED), str(self.offset_s)))
        world.plant.processes[self.target].kill()
        world.plant.wait_for(lambda: world.plant.is_up(self.target), 10)

    def end(self, world: World) -> None:
        """Start it anew with the right time."""
        world.plant.replace_command(self.target, ())
        world.plant.processes[self.target].kill()

    def is_over(self, world: World) -> bool:
        """Tell whether it has been started again."""
        return world.plant.is_up(self.target)


@dataclass(kw_only=True)
class CoresBusy(Fault):
    """Twice as many busy loops as there are cores."""

    _burners: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def begin(self, world: World) -> None:
        """Start them; each ends by itself if nobody does it."""
        self.detail = f"{2 * (os.cpu_count() or 1)} busy loops for {self.hold_s:.1f} s"
        limit_s = int(self.hold_s) + 20
        program = (
            f"import resource; resource.setrlimit(resource.RLIMIT_CPU, ({limit_s}, {limit_s}))\n{BURNER}"
        )
        for _ in range(2 * (os.cpu_count() or 1)):
            self._burners.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", program]))

    def end(self, world: World) -> None:
        """End them."""
        for burner in self._burners:
            burner.kill()
            burner.wait()


def _busy_child(world: World, dice: random.Random) -> tuple[str, int]:
    """Return a worker and a process of its pool that waits for an answer, most likely the exchange's.

    Where none does for a while, or the kernel does not tell what a process waits for: any of them.
    """
    target, pid = _some_child(world, dice, (*ITERATE, CLEANUP))
    found: list[tuple[str, int]] = []

    def looked() -> bool:
        found[:] = [(n, p) for n in ITERATE for p in world.plant.children(n) if _waits_for_answer(p)]
        return bool(found)

    if target != CLEANUP and world.plant.wait_for(looked, BUSY_WAIT_S):
        return dice.choice(found)
    return target, pid


def _waits_for_answer(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text(encoding="ascii").startswith("poll_")
    return False


def _some_child(world: World, dice: random.Random, targets: tuple[str, ...]) -> tuple[str, int]:
    """Return a worker and a process of its pool, 0 where it has none."""
    target, which = dice.choice(targets), dice.random()
    children = world.plant.children(target)
    return target, children[int(which * len(children))] if children else 0


def _resident(pid: int) -> int:
    return _pages(pid, 1)


def _address_space(pid: int) -> int:
    return max(1, _pages(pid, 0)) * resource.getpagesize()


def _pages(pid: int, column: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[column])
    return 0
