"""What processes have used of the CPU, and which of them a connection belongs to. From /proc: Linux."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> tuple[int, ...]:
    """Return a process and all that descend from it."""
    found = [pid]
    for each in found:
        # Read while they may end.
        with suppress(OSError):
            for task in (PROC / str(each) / "task").iterdir():
                found += [int(word) for word in (task / "children").read_text().split()]
    return tuple(found)


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time, user and system, of processes that live."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            # The program's name, in brackets, may hold anything.
            fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def pss_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes, what several share divided among them (PSS), MB."""
    kilobytes = 0
    for pid in pids:
        with suppress(OSError):
            lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def ports(pid: int) -> frozenset[int]:
    """Return the local TCP ports of a process's connections over IPv4."""
    sockets = set()
    with suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    sockets.add(target[len("socket:[") : -1])
    lines = (PROC / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = (line.split() for line in lines)
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in sockets)
