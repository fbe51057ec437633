"""A stack with short leases whose processes a test kills, and the guard as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.stack.stack import ROOT
from tests.acceptance.world import World, eventually

#: As short as the leases below allow.
AFTER_S = 5.0
#: What the guard may take beyond that: a round, a list, the cancels, on a machine whose cores are taken.
ACTS_WITHIN_S = 12.0
SHORT = {
    "CLEANBOOK_LEASE_MS": "2500",
    "CLEANBOOK_ITERATE_SOFT_LIMIT_S": "2",
    "CLEANBOOK_CLEANUP_LEASE_MS": "2000",
    "CLEANBOOK_GUARD_AFTER_S": f"{AFTER_S:g}",
}
WORKING = ("iterate", "cleanup", "feed")


@dataclass(kw_only=True)
class GuardProcess:
    """`manage.py guard` with a log that can be read."""

    world: World
    log_file: Path
    more: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the environment that workers have."""
        stack = self.world.stack
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "guard"],
                cwd=ROOT,
                env={**stack.processes["iterate"].spec.environ, **self.more},
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def terminate(self) -> tuple[int, float]:
        """Ask it to end; return its exit code and how long that took, seconds."""
        assert self._process is not None
        begun_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60), time.monotonic() - begun_s

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def lines(self, event: str, instance_id: str = "") -> list[dict[str, Any]]:
        """Return what it logged."""
        found = [json.loads(line) for line in self.log_file.read_text().splitlines() if line[:1] == "{"]
        return [
            line
            for line in found
            if line.get("event") == event and line.get("instance", "") in (instance_id, "")
        ]

    def wait_for(self, event: str, instance_id: str = "", *, count: int = 1) -> None:
        """Return once it has logged something."""
        eventually(
            lambda: len(self.lines(event, instance_id)) >= count, what=f"{event} {instance_id} in the log"
        )

    def memory_mb(self) -> float:
        """Return what it holds in memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """Return what it has used of the processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill_working(world: World) -> None:
    """Kill every process of ours that works for instances."""
    for name in WORKING:
        world.stack.processes[name].kill()


def start_working(world: World) -> None:
    """Start them again."""
    for name in WORKING:
        world.stack.processes[name].start()
