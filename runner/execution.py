"""Carry out an order plan: the only caller of `authorize`, and the only place that places orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog

from exchanges.base import Authorization, Exchange
from exchanges.errors import (
    AuthenticationFailed,
    DuplicateClientOrderId,
    ExchangeError,
    InsufficientFunds,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    RequestExpired,
    Unavailable,
)
from exchanges.registry import Venue
from market.orders import (
    CancelAnswer,
    CancelOutcome,
    NewOrder,
    OpenOrder,
    OrderType,
    Quote,
    Role,
    TimeInForce,
)
from market.snapshot import OwnOrder
from metrics import families
from runner.parallel import in_parallel
from state.permissions import Granted
from strategies.base import TakerOrder
from strategies.reconcile import OrderPlan

log = structlog.get_logger(__name__)

#: Asks the state server for permission, for the level and role of each order about to be sent.
Authorize = Callable[[Sequence[tuple[int, Role]]], Granted]
#: Turns the authorised time of the state server's clock into the exchange's clock.
SigningTime = Callable[[int], int]
#: What an order that was not accepted is counted as; the first that fits.
REJECTED_AS: tuple[tuple[type[ExchangeError], str], ...] = (
    (PostOnlyWouldCross, "post_only"),
    (InsufficientFunds, "funds"),
    (DuplicateClientOrderId, "duplicate_id"),
    (RequestExpired, "expired"),
    (AuthenticationFailed, "auth"),
    (Refused, "refused"),
    (RateLimited, "rate_limited"),
    (Unavailable, "unavailable"),
)


@dataclass(kw_only=True)
class ExecutionReport:
    """What became of a plan. Filled in while it goes, so that an interruption leaves the truth behind."""

    cancelled: list[str] = field(default_factory=list)
    #: Cancels that are not known to have happened.
    uncertain_cancels: list[str] = field(default_factory=list)
    accepted: list[OpenOrder] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    #: Client order ids of placements whose answer is missing, to when they were authorised (ms): they may be
    #: on the book now or later.
    unresolved: dict[int, int] = field(default_factory=dict)
    #: Orders that are known to be cancelled, to what was executed of them in all.
    executed_when_cancelled: dict[str, Decimal] = field(default_factory=dict)


class Executor:
    """Sends the orders of one iteration, or of one cleanup."""

    def __init__(
        self,
        exchange: Venue,
        *,
        symbol: str,
        window_ms: int,
        authorize: Authorize,
        signing_time_ms: SigningTime,
        report: ExecutionReport,
    ) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._window_ms = window_ms
        self._authorize = authorize
        self._signing_time_ms = signing_time_ms
        #: Filled in as orders go out.
        self.report = report

    def carry_out(self, plan: OrderPlan, taker: TakerOrder | None) -> ExecutionReport:
        """Cancel, then place. A side with a cancel that is not certain gets nothing new this time."""
        outcomes = self._cancel(plan.cancels)
        blocked = {own.order.side for own, sure in outcomes if not sure}
        # Self-trade prevention would refuse a taker against own orders that may still rest opposite.
        if taker is not None and not blocked:
            self.take(taker, Role.HEDGE)
        quotes = [quote for quote in plan.places if quote.side not in blocked]
        if quotes:
            self._send([(self._maker(quote), quote.level, quote.role) for quote in quotes])
        return self.report

    def take(self, taker: TakerOrder, role: Role) -> None:
        """Authorise and send one immediate-or-cancel order."""
        self._send([(self._taker(taker), 0, role)])

    def _cancel(self, orders: Sequence[OwnOrder]) -> list[tuple[OwnOrder, bool]]:
        if not orders:
            return []
        answers = cancel_orders(self._exchange, self._symbol, [own.order.order_id for own in orders])
        return [(own, self._note_cancel(own, answers[own.order.order_id])) for own in orders]

    def _note_cancel(self, own: OwnOrder, answer: CancelAnswer | None) -> bool:
        """Book one cancel; tell whether it is certain, and the exposure what the snapshot said."""
        order_id = own.order.order_id
        if answer is None or answer.outcome is not CancelOutcome.CANCELLED:
            # An order that is gone already was probably filled: exposure has changed since the snapshot.
            self.report.uncertain_cancels.append(order_id)
            return False
        self.report.cancelled.append(order_id)
        families.ORDERS_CANCELLED.add("iteration")
        if answer.executed_quantity is None:
            return False
        self.report.executed_when_cancelled[order_id] = answer.executed_quantity
        return answer.executed_quantity <= own.order.executed_quantity

    def _send(self, batch: Sequence[tuple[NewOrder, int, Role]]) -> None:
        granted = self._authorize([(level, role) for _, level, role in batch])
        orders = [
            replace(order, client_order_id=client_order_id)
            for (order, _, _), client_order_id in zip(batch, granted.client_order_ids, strict=True)
        ]
        authorization = Authorization(
            signed_at_ms=self._signing_time_ms(granted.at_ms), window_ms=self._window_ms
        )
        # Noted before sending: whatever interrupts this leaves them unresolved.
        self.report.unresolved |= dict.fromkeys(granted.client_order_ids, granted.at_ms)
        results = self._exchange.place(orders, authorization)
        unanswered = []
        for order, result in zip(orders, results, strict=True):
            if isinstance(result.error, OutcomeUnknown):
                unanswered.append(order)
                continue
            if result.error is not None:
                self._note_refusal(order, result.error)
            elif result.order is not None:
                self._note_accepted(result.order)
            # Last: an interruption in between leaves it noted twice, never not at all.
            del self.report.unresolved[order.client_order_id]
        # Afterwards: it asks the exchange, and an interruption there must not lose the answers that came.
        for order in unanswered:
            self._resolve(order, authorization)

    def _resolve(self, order: NewOrder, authorization: Authorization) -> None:
        try:
            found = self._exchange.resolve_placement(
                self._symbol,
                order.client_order_id,
                # Client order ids come round again: an older order must not pass for this one.
                not_before_ms=authorization.signed_at_ms,
            )
        except ExchangeError as error:
            self._note_unresolved(order, str(error))
            return
        if found is None or not _is_the_same(order, found):
            # It may still arrive until its window is over: only the fence settles that.
            why = "not on the book yet" if found is None else "another order has its id"
            self._note_unresolved(order, why)
            return
        self._note_accepted(found)
        del self.report.unresolved[order.client_order_id]

    def _note_accepted(self, order: OpenOrder) -> None:
        self.report.accepted.append(order)
        families.ORDERS_PLACED.add(order.side)

    def _note_unresolved(self, order: NewOrder, why: str) -> None:
        families.ORDERS_UNRESOLVED.add()
        log.warning("placement unresolved", client_order_id=order.client_order_id, error=why)

    def _note_refusal(self, order: NewOrder, error: ExchangeError) -> None:
        families.ORDERS_REJECTED.add(
            next((name for kind, name in REJECTED_AS if isinstance(error, kind)), "")
        )
        self.report.refused.append(f"{order.side} {order.quantity} @ {order.price}: {error}")
        if isinstance(error, PostOnlyWouldCross):
            log.info("quote would cross", side=order.side, price=str(order.price))
        elif isinstance(error, Refused):
            log.warning(
                "order refused",
                side=order.side,
                price=str(order.price),
                quantity=str(order.quantity),
                code=error.code,
                error=str(error),
            )
        else:
            log.warning("order not sent", side=order.side, price=str(order.price), error=str(error))

    def _maker(self, quote: Quote) -> NewOrder:
        return NewOrder(
            client_order_id=0,
            symbol=self._symbol,
            side=quote.side,
            order_type=OrderType.LIMIT,
            quantity=quote.quantity,
            price=quote.price,
            time_in_force=quote.time_in_force,
            post_only=quote.post_only,
            reduce_only=quote.reduce_only,
        )

    def _taker(self, taker: TakerOrder) -> NewOrder:
        return NewOrder(
            client_order_id=0,
            symbol=self._symbol,
            side=taker.side,
            order_type=OrderType.LIMIT,
            quantity=taker.quantity,
            price=taker.limit_price,
            time_in_force=TimeInForce.IOC,
            reduce_only=taker.reduce_only,
        )


def _is_the_same(sent: NewOrder, found: OpenOrder) -> bool:
    return (found.side, found.price, found.quantity) == (sent.side, sent.price, sent.quantity)


def cancel_orders(
    exchange: Exchange, symbol: str, order_ids: Sequence[str]
) -> dict[str, CancelAnswer | None]:
    """Cancel each order by its id, in parallel; None stands for an outcome nobody knows."""

    def cancel(order_id: str) -> CancelAnswer | None:
        try:
            return exchange.cancel(symbol, order_id)
        except RequestExpired as error:  # a matter of time, not of the order
            log.warning("cancel not confirmed", order_id=order_id, error=str(error))
            return None
        except Refused as error:
            log.warning("cancel refused", order_id=order_id, code=error.code, error=str(error))
            return CancelAnswer(outcome=CancelOutcome.REFUSED)
        except ExchangeError as error:
            log.warning("cancel not confirmed", order_id=order_id, error=str(error))
            return None

    return dict(zip(order_ids, in_parallel(cancel, order_ids), strict=True))
