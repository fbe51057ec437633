"""A counterexample in words: who did what, and when."""

from __future__ import annotations

from collections.abc import Iterator

CYCLE = "<<<<<START OF CYCLE>>>>>"


def in_words(replayed: str) -> Iterator[str]:
    """Yield one line per step of what `spin` printed along a counterexample, with the time in ticks."""
    ticks = 0
    for line in replayed.splitlines():
        if CYCLE in line:
            yield f"{ticks:>4}  from here on the same over and over again:"
        who, separator, what = line.strip().partition("|")
        if not separator:
            continue
        if who == "clock":
            ticks += 1
            continue
        yield f"{ticks:>4}  {who:<10} {what}"
