"""Which faults come when: everything follows from the seed, so that a schedule can be played again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.catalogue import CLASSES, MIXED
from tests.chaos.failover import FAILOVERS
from tests.chaos.faults import Fault
from tests.chaos.hosts import CUTS

#: Faults that come together in a mixed round, and within how many seconds they begin.
MIXED_FAULTS = (2, 4)
MIXED_SPREAD_S = 5.0
#: Also those that need Sentinels, which come only when they are named.
MAKERS = {**CLASSES, **FAILOVERS, **CUTS}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A round as planned."""

    number: int
    row: str
    #: Each with when it begins, s after the round's begin.
    faults: Sequence[tuple[float, Fault]]
    #: Peace after the recovery, s.
    calm_s: float


def schedule(
    seed: int, *, names: Sequence[str] = (), mixed: bool = False, full: bool = True
) -> Iterator[Planned]:
    """Yield rounds without end: each of `names` (default: every class) alone, in a new order each time.

    With `mixed`, rounds of several faults at once. Without `names`, mixed rounds follow when each had its
    turn.
    """
    known = list(names) or list(CLASSES)
    number = 0
    alone: list[str] = []
    had_all = False
    while True:
        number += 1
        dice = random.Random(f"{seed}:{number}")
        if mixed or (had_all and not names):
            yield _mixed(number, known, dice)
            continue
        if not alone:
            alone = list(known)
            random.Random(f"{seed}:order:{number}").shuffle(alone)
        name = alone.pop()
        had_all = not alone
        fault = MAKERS[name](dice, full)
        yield Planned(number=number, row=name, faults=[(0.0, fault)], calm_s=dice.uniform(0.3, 1.5))


def _mixed(number: int, names: Sequence[str], dice: random.Random) -> Planned:
    chosen = dice.sample(list(names), k=min(len(names), dice.randint(*MIXED_FAULTS)))
    faults = [(dice.uniform(0, MIXED_SPREAD_S), MAKERS[name](dice, False)) for name in chosen]
    return Planned(
        number=number,
        row=MIXED,
        faults=sorted(faults, key=lambda each: each[0]),
        calm_s=dice.uniform(0.3, 1.5),
    )
