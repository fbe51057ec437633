"""What processes use of CPU and memory, and which of them a connection belongs to. From /proc: Linux."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Every MB of a bench is 2^20 bytes, as a kB of /proc is 2^10.
_KB_OF_MB = 1024


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
            ticks += sum(_ticks(pid)[:2])
    return ticks / _TICKS_PER_S


def pss_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes, what several share divided among them (PSS), MB."""
    kilobytes = 0
    for pid in pids:
        with suppress(OSError):
            kilobytes += _memory_kb(pid)["Pss"]
    return kilobytes / _KB_OF_MB


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


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a process and its children have used by a moment."""

    #: On the CPU, user and system, s; with children that have ended.
    cpu_s: float
    #: Proportional set size: a page that several processes share counts once in the sum of all of them.
    pss_mb: float
    #: What would be free if the processes ended.
    uss_mb: float
    processes: int

    def since(self, before: Use) -> Use:
        """Return the CPU time in between, with the memory of now."""
        return Use(
            cpu_s=self.cpu_s - before.cpu_s,
            pss_mb=self.pss_mb,
            uss_mb=self.uss_mb,
            processes=self.processes,
        )


def total(uses: Iterable[Use]) -> Use:
    """Return the sum."""
    found = tuple(uses)
    return Use(
        cpu_s=sum(use.cpu_s for use in found),
        pss_mb=sum(use.pss_mb for use in found),
        uss_mb=sum(use.uss_mb for use in found),
        processes=sum(use.processes for use in found),
    )


def use_of_group(group: int) -> Use:
    """Return what the processes of a process group have used, each part of a worker among them."""
    return total(_use(pid) for pid in _pids() if _group(pid) == group)


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def _use(pid: int) -> Use:
    try:
        ticks, memory = _ticks(pid), _memory_kb(pid)
    except (FileNotFoundError, ProcessLookupError):
        return Use(cpu_s=0.0, pss_mb=0.0, uss_mb=0.0, processes=0)
    return Use(
        cpu_s=sum(ticks) / _TICKS_PER_S,
        pss_mb=memory["Pss"] / _KB_OF_MB,
        uss_mb=(memory["Private_Clean"] + memory["Private_Dirty"]) / _KB_OF_MB,
        processes=1,
    )


def _ticks(pid: int) -> list[int]:
    """Return the CPU time of a process, user and system, and the same of children that have ended."""
    # The program's name, in brackets, may hold anything.
    fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


def _memory_kb(pid: int) -> dict[str, int]:
    text = (PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in lines}
