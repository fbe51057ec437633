"""What a cleanup found and did: the proof behind the word clean."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Result(StrEnum):
    """How a cleanup ended."""

    #: Nothing of the run is on the book (or only what the policy keeps), and nothing can still arrive.
    CLEAN = "clean"
    #: Own orders are still open.
    ORDERS_LEFT = "orders_left"
    #: The orders are gone, the position that should be closed is not.
    POSITION_LEFT = "position_left"
    #: The exchange could not be asked, so nothing is known.
    UNVERIFIED = "unverified"


class Model(BaseModel):
    """Frozen, strict base of the values kept in Redis as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(Model):
    """A step of a cleanup and when it was reached, ms of the state server's clock."""

    step: str
    at_ms: int
    detail: str = ""


class OpenOrderSeen(Model):
    """An own order as the exchange listed it."""

    order_id: str
    client_order_id: int
    side: str
    price: str
    remaining_quantity: str


class OrderList(Model):
    """One list of own open orders, by the exchange's own word."""

    at_ms: int
    own_orders: tuple[OpenOrderSeen, ...]


class Outcome(Model):
    """The result of one cleanup attempt."""

    result: Result
    instance_id: str
    epoch: int
    attempt: int
    #: Who ran it: a worker's task, or the command line itself.
    by: str
    reason: str
    steps: tuple[Step, ...]
    cancelled_order_ids: tuple[str, ...]
    #: The last lists read; clean takes two empty ones in a row, both read after `fence_ms`.
    last_lists: tuple[OrderList, ...]
    #: Own orders still open by the last list; None when no list could be read.
    orders_left: tuple[OpenOrderSeen, ...] | None
    #: Own orders that stay because the policy says so.
    orders_kept: tuple[OpenOrderSeen, ...] = ()
    #: Until then a request authorised by the run could have been accepted, 0 when none was open.
    fence_ms: int
    #: True when a request of the run never got its answer (it has expired since).
    had_unresolved: bool
    position_before: str | None = None
    position_after: str | None = None
    #: What stood in the way, empty when clean.
    problem: str = ""

    @property
    def is_clean(self) -> bool:
        """Tell whether the run may be called stopped."""
        return self.result is Result.CLEAN
