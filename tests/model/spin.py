"""Run `spin` on the model and read what it says."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.model.variants import Variant

MODEL = Path(__file__).with_name("lifecycle.pml")
PROGRAMS = ("spin", "gcc")
#: A check that needs more memory than this stops, and says that it is not complete.
MEMORY_MB = 6000
DEEPEST = 5_000_000
#: A limit of `assert` is told from the others by the number that REQUIRE puts into it.
FAILED_ASSERTION = re.compile(r"assertion violated .*!=0\)&&\(\d+!=(\d+)\)")
INCOMPLETE = ("max search depth too small", "out of memory", "reached -DMEMLIM")


class ModelError(Exception):
    """Raised when the model cannot be translated, compiled or run."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checker found."""

    #: The property that does not hold; None: everything that was checked holds.
    violated: str | None
    #: Every state that can be reached was looked at. Never so with a violation, where the search ends.
    is_complete: bool
    states: int
    depth: int
    seconds: float


def missing_programs() -> tuple[str, ...]:
    """Return the programs that the check needs and this machine does not have."""
    return tuple(program for program in PROGRAMS if shutil.which(program) is None)


def check(variant: Variant, folder: Path) -> Verdict:
    """Check one variant in an empty `folder`. Raises `ModelError`."""
    began = _cpu_seconds()
    build(variant, folder)
    flags = ["-a", "-N", *variant.checks, f"-m{DEEPEST}"] if variant.is_liveness else []
    output = _run(["./pan", *flags], folder, may_fail=True)
    return parse(variant, output, seconds=_cpu_seconds() - began)


def build(variant: Variant, folder: Path) -> None:
    """Make the checker of one variant in `folder`. Raises `ModelError`."""
    for part in MODEL.parent.glob("*.pml"):
        shutil.copy(part, folder)
    _run(["spin", *(f"-D{macro}" for macro in variant.macros), "-a", MODEL.name], folder)
    # Where the search is short, compiling is what takes the time.
    flags = ["-O1" if variant.fails else "-O2", f"-DMEMLIM={MEMORY_MB}"]
    if not variant.is_liveness:
        # Breadth first: the counterexample is the shortest there is.
        flags += ["-DSAFETY", "-DBFS", "-DNOREDUCE"]
    _run(["gcc", "-w", *flags, "-o", "pan", "pan.c"], folder)


def parse(variant: Variant, output: str, *, seconds: float) -> Verdict:
    """Read the report of one search. Raises `ModelError`."""
    states = re.search(r"^\s*(\d+(?:\.\d+e\+\d+)?) states, stored", output, re.MULTILINE)
    depth = re.search(r"depth reached (\d+), errors: (\d+)", output)
    if states is None or depth is None:
        raise ModelError(f"{variant.name}: the checker gave no result:\n{output[-2000:]}")
    violated = None
    if int(depth[2]):
        assertion = FAILED_ASSERTION.search(output)
        if assertion:
            violated = assertion[1]
        elif variant.is_liveness and "acceptance cycle" in output:
            violated = next(iter(variant.checks))
        else:
            violated = "unknown"
    return Verdict(
        violated=violated,
        is_complete=violated is None and not any(sign in output for sign in INCOMPLETE),
        states=int(float(states[1])),
        depth=int(depth[1]),
        seconds=seconds,
    )


def replay(variant: Variant, folder: Path) -> str:
    """Return what `spin` prints along the counterexample that `check` left in `folder`."""
    macros = [f"-D{macro}" for macro in variant.macros]
    return _run(["spin", "-T", "-t", *macros, MODEL.name], folder, may_fail=True)


def _run(command: list[str], folder: Path, *, may_fail: bool = False) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode and not may_fail:
        raise ModelError(f"{' '.join(command)} failed:\n{output[-2000:]}")
    return output


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
