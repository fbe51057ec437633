"""The request rate of an account, shared by all workers as a token bucket in Redis."""

from __future__ import annotations

from dataclasses import dataclass

from state import keys
from state.scripts import Scripts


@dataclass(frozen=True, kw_only=True)
class BudgetLimits:
    """How many requests an account may make."""

    #: Backpack allows 2000 a minute (its support pages); we stay below.
    per_minute: int = 1800
    #: The largest burst.
    burst: int = 300
    #: Part of the burst that only cancels and the lists of a cleanup may use.
    reserved_for_cancels: int = 100

    @classmethod
    def of(cls, per_minute: int) -> BudgetLimits:
        """Return the limits of an account that may make `per_minute` requests; a burst is 10 s of them."""
        burst = max(30, per_minute // 6)
        return cls(per_minute=per_minute, burst=burst, reserved_for_cancels=burst // 3)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What became of a request for a turn."""

    #: False: nothing was taken, since the wait is too long.
    is_taken: bool
    wait_ms: int


def take(
    scripts: Scripts, account: str, limits: BudgetLimits, *, count: int = 1, may_use_reserve: bool = False
) -> int:
    """Take `count` requests; return 0, or the milliseconds until they would be there."""
    reserve = 0 if may_use_reserve else limits.reserved_for_cancels
    return _take(scripts, account, limits, count=count, reserve=reserve, patience_ms=0)


def take_turn(
    scripts: Scripts, account: str, limits: BudgetLimits, *, count: int = 1, patience_ms: int
) -> Turn:
    """Take `count` requests, reserve included, also where they are there in `patience_ms` only.

    They are to be sent after the wait: turns are given in the order in which they were asked for.
    """
    answer = _take(scripts, account, limits, count=count, reserve=0, patience_ms=patience_ms)
    return Turn(is_taken=answer <= 0, wait_ms=abs(answer))


def _take(
    scripts: Scripts, account: str, limits: BudgetLimits, *, count: int, reserve: int, patience_ms: int
) -> int:
    return scripts.call_int(
        "take_budget",
        [keys.budget(account)],
        [limits.burst, str(limits.per_minute / 60), count, reserve, patience_ms],
    )
