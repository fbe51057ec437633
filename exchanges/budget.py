"""How many requests an account may still make: the question every adapter asks before it sends.

An exchange counts requests per account, whichever worker sends them, so the count is shared. The adapter
calls `RateBudget.take` once for every HTTP request, before it is signed; a refusal therefore means that
nothing happened. The implementation over the state server is in `state/`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class RequestKind(StrEnum):
    """What a request is for; decides how deep into the budget it may reach."""

    #: Anything that changes nothing.
    READ = "read"
    #: Creates orders.
    PLACE = "place"
    #: Cancels orders: may use the part that the other kinds must leave over.
    CANCEL = "cancel"


class RateBudget(Protocol):
    """A budget of requests of one account, shared by everybody who uses the account."""

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests, or raise.

        Raises:
            exchanges.errors.RateLimited: the budget is used up; nothing was taken, and `retry_after_s`
                says when it has grown enough.
        """
        ...


class TurnBudget(RateBudget, Protocol):
    """One that also gives turns to those who would rather wait."""

    def take_turn(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests, the reserve included; return when they may be sent, a moment later at most.

        Raises:
            exchanges.errors.RateLimited: likewise, where the wait would be longer than a moment.
        """
        ...


class UnlimitedBudget:
    """A budget that never ends: for tests, and for a venue that counts nothing."""

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Allow everything."""


class CleanupBudget:
    """A view of a budget for cleanups: all of it reaches into the part that is reserved for cancels.

    A cleanup that may cancel but may not list cannot prove that it is done, and all it places closes. It
    waits for its turn: a cancel that is refused leads to another list, and that takes a request, too.
    """

    def __init__(self, budget: TurnBudget) -> None:
        self._budget = budget

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests, with the reserve. Raises `RateLimited` like the inner budget."""
        if kind is RequestKind.PLACE:
            # Authorised already, for a short while: better authorised again than sent late.
            self._budget.take(RequestKind.CANCEL, count)
        else:
            self._budget.take_turn(kind, count)
