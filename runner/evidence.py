"""What one cleanup attempt sees and does, and the receipt that this makes with the attempts before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import structlog

from runner.receipt import (
    Asked,
    Attempt,
    Flight,
    FlightEnd,
    OpenOrderSeen,
    OrderList,
    Receipt,
    RequestFate,
    Result,
    Step,
    Unanswered,
    kept_attempts,
)
from runner.receipt_reading import read_receipt
from state.cleanup_leases import CleanupLease, InFlight

log = structlog.get_logger(__name__)

#: Steps of one attempt that are kept; an exchange in trouble can hold one up in many words.
MOST_STEPS = 40
PROBLEM_LENGTH = 500


class Evidence:
    """Collects while an attempt goes on; `receipt` puts it together at the end."""

    def __init__(self, lease: CleanupLease, *, by: str, tell: Callable[[Step], None]) -> None:
        """`tell` shows a step to those who follow the stop."""
        self.lease = lease
        self._by = by
        self._tell = tell
        self._earlier = _earlier(lease)
        self._steps: list[Step] = []
        self._lists: list[OrderList] = []
        #: Client order id to order of everything that a list of this attempt has shown.
        self._seen: dict[int, str] = {}
        self._gone: dict[str, None] = {}
        self._unanswered: dict[int, Unanswered] = {}
        self._trouble = ""
        self._flight = _flight_at_stop(lease, self._earlier)
        #: Orders this attempt cancelled, to what was executed of them where the exchange said so.
        self.cancelled: dict[str, Decimal | None] = {}
        self.kept: tuple[OpenOrderSeen, ...] = ()
        self.fence_ms = 0
        self.had_unresolved = False
        #: Net quantity before and after, and whose (``run``, ``account``); None: left alone.
        self.position: tuple[str, str, str] | None = None
        self.symbol = ""

    @property
    def last_list(self) -> tuple[OpenOrderSeen, ...] | None:
        """Return the own open orders by the last list of this attempt, None when there was none."""
        return self._lists[-1].own_orders if self._lists else None

    @property
    def requested_at_ms(self) -> int:
        """Return when the stop was asked for, the time of the claim where nobody knows."""
        return self.lease.asked[-1].at_ms if self.lease.asked else self.lease.claimed_at_ms

    def what_is_left(self) -> Result:
        """Return how an attempt ends that could not finish."""
        return Result.ORDERS_LEFT if self.last_list else Result.UNVERIFIED

    def step(self, step: str, at_ms: int, detail: str = "") -> None:
        """Note a step, and tell it."""
        noted = Step(step=step, at_ms=at_ms, detail=detail[:200])
        if len(self._steps) < MOST_STEPS:
            self._steps.append(noted)
        self._tell(noted)

    @property
    def is_held_up(self) -> bool:
        """Tell whether anything has held this attempt up."""
        return self._trouble != ""

    def is_news(self, trouble: str) -> bool:
        """Tell whether this is another trouble than the last one, and remember it."""
        is_news, self._trouble = trouble != self._trouble, trouble
        return is_news

    def list_read(self, orders: tuple[OpenOrderSeen, ...], at_ms: int) -> None:
        """Note a list of own open orders."""
        self._lists = [*self._lists[-1:], OrderList(at_ms=at_ms, own_orders=orders)]
        self._seen |= {order.client_order_id: order.order_id for order in orders}

    def order_cancelled(self, order_id: str, executed_quantity: Decimal | None) -> None:
        """Note an order that this attempt cancelled."""
        self.cancelled.setdefault(order_id, executed_quantity)

    def order_gone(self, order_id: str) -> None:
        """Note an order that was gone when its cancel came."""
        self._gone.setdefault(order_id)

    def unanswered(self, intents: Mapping[int, int]) -> None:
        """Note orders that were authorised and never told of: client order id to when, ms."""
        for client_order_id, at_ms in sorted(intents.items()):
            self._unanswered[client_order_id] = Unanswered(
                client_order_id=client_order_id, authorised_at_ms=at_ms, fate=RequestFate.UNKNOWN
            )

    def looked_up(self, client_order_id: int, order_id: str) -> None:
        """Note what the exchange says of such an order: its id, or empty when it is not open."""
        asked = self._unanswered.get(client_order_id)
        if asked is not None:
            self._unanswered[client_order_id] = _rested(asked, order_id)

    def interrupted(self, at_ms: int) -> None:
        """Note that the iteration in flight is cut short now."""
        if self._flight is not None:
            self._flight = self._flight.model_copy(update={"interrupted_at_ms": at_ms})

    def flight_ended(self, in_flight: InFlight) -> None:
        """Note how the iteration in flight ended, by the word of the scripts."""
        flight = self._flight
        if flight is None or not in_flight.flight_end:
            return
        ended = FlightEnd(in_flight.flight_end)
        if ended is FlightEnd.COMMITTED and flight.interrupted_at_ms is not None:
            ended = FlightEnd.INTERRUPTED
        update = {"ended": ended, "ended_at_ms": in_flight.flight_ended_at_ms}
        self._flight = flight.model_copy(update=update)

    def receipt(self, result: Result, problem: str, *, ended_at_ms: int | None = None) -> Receipt:
        """Return the receipt as of the end of this attempt; without a time, of its last moment noted."""
        lease, earlier = self.lease, self._earlier
        times = [lease.claimed_at_ms, *(step.at_ms for step in self._steps)]
        attempt = Attempt(
            number=lease.attempt,
            by=self._by,
            claimed_at_ms=lease.claimed_at_ms,
            ended_at_ms=ended_at_ms or max([*times, *(seen.at_ms for seen in self._lists)]),
            result=result,
            problem=problem[:PROBLEM_LENGTH],
            steps=tuple(self._steps),
            cancelled=len(self.cancelled),
        )
        begun = _begun_since(earlier, lease.attempt)
        cancelled = _joined(earlier.cancelled_order_ids if earlier else (), self.cancelled)
        gone = _joined(earlier.gone_order_ids if earlier else (), self._gone)
        position = self._position()
        return Receipt(
            result=result,
            instance_id=lease.instance_id,
            epoch=lease.epoch,
            account=lease.account,
            symbol=self.symbol or (earlier.symbol if earlier else ""),
            slot=lease.slot,
            config_version=lease.config_version,
            started_at_ms=lease.started_at_ms,
            updated_at_ms=attempt.ended_at_ms,
            asked=tuple(
                Asked(by=asked.by, reason=asked.reason, at_ms=asked.at_ms, policy=asked.policy)
                for asked in lease.asked
            ),
            policy=lease.policy,
            paused_at_ms=lease.paused_at_ms,
            in_flight=self._flight,
            attempts=kept_attempts(((*earlier.attempts,) if earlier else ()) + (attempt,)),
            attempt_count=(earlier.attempt_count if earlier else 0) + begun,
            lost_attempts=(earlier.lost_attempts if earlier else 0) + begun - 1,
            cancelled_order_ids=cancelled,
            gone_order_ids=tuple(name for name in gone if name not in set(cancelled)),
            last_lists=((earlier.last_lists if earlier else ()) + tuple(self._lists))[-2:],
            orders_left=None if result is Result.UNVERIFIED or self.kept else self.last_list,
            orders_kept=self.kept,
            fence_ms=max(self.fence_ms, earlier.fence_ms if earlier else 0),
            had_unresolved=self.had_unresolved or bool(earlier and earlier.had_unresolved),
            unanswered=_unanswered_by_now(earlier, self._unanswered, self._seen),
            position_before=position[0],
            position_after=position[1],
            position_of=position[2],
            problem=problem[:PROBLEM_LENGTH],
        )

    def _position(self) -> tuple[str | None, str | None, str]:
        earlier = self._earlier
        if earlier is None or earlier.position_before is None:
            return self.position or (None, None, "")
        if self.position is None:
            return earlier.position_before, earlier.position_after, earlier.position_of
        if self.position[2] != earlier.position_of:
            return self.position
        # Brought down in several attempts: what it was before the first of them.
        return earlier.position_before, self.position[1], self.position[2]


def _earlier(lease: CleanupLease) -> Receipt | None:
    """Return the receipt that this attempt goes on with, None where there is none of this run to be read."""
    if not lease.receipt_json:
        return None
    try:
        receipt = read_receipt(lease.receipt_json)
    except ValueError as error:
        log.warning("earlier receipt not readable", instance=lease.instance_id, why=str(error)[:200])
        return None
    return receipt if receipt.epoch == lease.epoch else None


def _flight_at_stop(lease: CleanupLease, earlier: Receipt | None) -> Flight | None:
    if earlier is not None and earlier.in_flight is not None:
        return earlier.in_flight
    if not lease.knows_flight:
        return None
    flight = lease.flight
    if flight is None:
        return Flight(ended=FlightEnd.NONE)
    return Flight(
        ended=FlightEnd.RUNNING,
        seq=flight.seq,
        tick=flight.tick,
        task_id=flight.task_id,
        lease_until_ms=flight.lease_until_ms,
    )


def _begun_since(earlier: Receipt | None, number: int) -> int:
    """Return how many attempts began since the earlier receipt.

    A further request counts anew from 1, and one that was handed over gives its number to the next.
    """
    if earlier is None or number < earlier.attempt:
        return number
    return max(1, number - earlier.attempt)


def _joined(first: tuple[str, ...], more: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *more)))


def _rested(each: Unanswered, order_id: str) -> Unanswered:
    fate = RequestFate.RESTED if order_id else RequestFate.NOT_OPEN
    return each.model_copy(update={"fate": fate, "order_id": order_id})


def _unanswered_by_now(
    earlier: Receipt | None, now: Mapping[int, Unanswered], listed: Mapping[int, str]
) -> tuple[Unanswered, ...]:
    """Return what became of each; `listed` are client order ids of orders that a list has shown."""
    known = {each.client_order_id: each for each in earlier.unanswered} if earlier else {}
    for client_order_id, asked in now.items():
        # A list may show what nobody can be asked about, or what was cancelled before it was asked about.
        order_id = asked.order_id or listed.get(client_order_id, "")
        each = _rested(asked, order_id) if order_id else asked
        # What an earlier attempt was told stands: it may have cancelled the order since.
        before = known.get(client_order_id)
        if before is None or (each.fate is not RequestFate.UNKNOWN and before.fate is not RequestFate.RESTED):
            known[client_order_id] = each
    return tuple(known.values())
