"""What processes take of the machine, as the kernel counts it (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB = 1024


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
        # The program's name, in brackets, may hold anything.
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        memory = _memory_kb((PROC / str(pid) / "smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return Use(cpu_s=0.0, pss_mb=0.0, uss_mb=0.0, processes=0)
    return Use(
        cpu_s=sum(int(ticks) for ticks in stat[11:15]) / _TICKS_PER_S,
        pss_mb=memory["Pss"] / _KIB,
        uss_mb=(memory["Private_Clean"] + memory["Private_Dirty"]) / _KIB,
        processes=1,
    )


def _memory_kb(smaps_rollup: str) -> dict[str, int]:
    lines = (line.split() for line in smaps_rollup.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in lines}
