"""A counterexample in words: who did what, and when."""

from __future__ import annotations

import re
from collections.abc import Iterator

STEP = re.compile(r"\s*(clock|user|feed|sweep|server|faults|exchange|worker \d|cleanup \d)\|(.*)")
CYCLE = "<<<<<START OF CYCLE>>>>>"


def in_words(replayed: str) -> Iterator[str]:
    """Yield one line per step of what `spin` printed along a counterexample, with the time in ticks."""
    ticks = 0
    for line in replayed.splitlines():
        if CYCLE in line:
            yield f"{ticks:>4}  from here on the same over and over again:"
        step = STEP.fullmatch(line)
        if step is None:
            continue
        if step[1] == "clock":
            ticks += 1
        else:
            yield f"{ticks:>4}  {step[1]:<10} {step[2]}"
