"""An instance's orders on the exchange, as a cleanup lists and cancels them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from exchanges.base import Exchange
from exchanges.errors import ExchangeError, RateLimited
from market.orders import CancelAnswer, CancelOutcome, OpenOrder
from runner.cleanup_attempt import LONGEST_PAUSE_S, CleanupAttempt
from runner.execution import cancel_orders
from runner.parallel import MOST_AT_ONCE, in_parallel
from runner.receipt import OpenOrderSeen
from state.client_ids import owns

#: Between two tries while the exchange does not answer or still shows orders.
FIRST_PAUSE_S = 0.05
#: An order whose cancel was refused this often, and that no list shows, is not asked for again.
REFUSALS_BELIEVED = 5


class OwnOrders:
    """Lists and cancels for one cleanup; a list that fails is asked for again, never taken as empty."""

    def __init__(self, attempt: CleanupAttempt, exchange: Exchange, symbol: str, *, exclusive: bool) -> None:
        self._attempt = attempt
        self._exchange = exchange
        self._symbol = symbol
        self._exclusive = exclusive
        #: Cancels that are not known to have happened; asked for again until they are, listed or not.
        self._unsure: set[str] = set()
        self._refusals: Counter[str] = Counter()

    def list(self) -> tuple[OpenOrderSeen, ...]:
        """Return own open orders by the exchange's word, asking until it answers."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._attempt.renew()
            try:
                orders = self._exchange.open_orders(self._symbol)
            except ExchangeError as error:
                self._attempt.note_trouble(f"open orders unknown: {error}")
                retry_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
                self._attempt.pause(max(pause_s, retry_s))
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
                continue
            own = tuple(_seen(order) for order in orders if owns(self._attempt.slot, order.client_order_id))
            self._attempt.note_list(own)
            return own

    def cancel_at_once(self, known_order_ids: tuple[str, ...]) -> None:
        """Cancel what the last iteration knew, without asking anything first.

        That saves the time of a list on the usual path, and reaches orders that a lagging list hides.
        """
        if self._exclusive:
            self._cancel_symbol(known_order_ids)
        elif known_order_ids:
            self._cancel(known_order_ids)

    def find_by_client_ids(self, client_order_ids: Sequence[int]) -> None:
        """Ask for orders that were authorised and never told of; what rests is cancelled with the rest.

        Behind the fence and by id, since a list may take longer than this cleanup to show them. Where the
        exchange does not answer the lists have to do: a stop must end on one that only lists.
        """
        for first in range(0, len(client_order_ids), MOST_AT_ONCE):
            self._attempt.renew()
            chunk = client_order_ids[first : first + MOST_AT_ONCE]
            unknown = self._find_all(chunk)
            if unknown:
                self._attempt.renew()
                unknown = self._find_all(unknown)
            if unknown:
                self._attempt.note_trouble("orders that were never told of cannot be asked for by id")
            if len(unknown) == len(chunk):
                return

    def _find_all(self, client_order_ids: Sequence[int]) -> Sequence[int]:
        """Have what rests of some orders cancelled; return those that nobody knows of."""
        answers = list(in_parallel(self._find, client_order_ids))
        self._unsure |= {order_id for order_id in answers if order_id}
        for client_order_id, order_id in zip(client_order_ids, answers, strict=True):
            if order_id is not None:
                self._attempt.evidence.looked_up(client_order_id, order_id)
        return [asked for asked, answer in zip(client_order_ids, answers, strict=True) if answer is None]

    def _find(self, client_order_id: int) -> str | None:
        """Return the id of the order that rests, empty when none does; None: nobody knows."""
        try:
            found = self._exchange.find_order(self._symbol, client_order_id)
        except ExchangeError:
            return None
        return "" if found is None else found.order_id

    def cancel_what_is_listed(self) -> int:
        """Read one list, cancel what is on it and what no earlier cancel is sure of; return how many."""
        wanted = {order.order_id for order in self.list()} | self._unsure
        if wanted:
            self._attempt.renew()
            self._cancel(tuple(sorted(wanted)))
        return len(wanted)

    def cancel_until_gone(self) -> None:
        """List and cancel until every cancel is sure and two lists in a row show nothing. Raises `OutOfTime`.

        Two, because exchanges acknowledge cancels that have not happened yet and their lists lag; the
        second is asked for after the first was answered, so at least one request time later.
        """
        empty_in_a_row = 0
        pause_s = FIRST_PAUSE_S
        while empty_in_a_row < 2:
            if self.cancel_what_is_listed() == 0:
                empty_in_a_row += 1
                continue
            if empty_in_a_row == 0 and pause_s > FIRST_PAUSE_S:
                self._attempt.pause(pause_s)
            empty_in_a_row = 0
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _cancel(self, order_ids: tuple[str, ...]) -> None:
        # In rounds, so that the lease is renewed between cancels that take their full time-out.
        for first in range(0, len(order_ids), MOST_AT_ONCE):
            if first:
                self._attempt.renew()
            chunk = order_ids[first : first + MOST_AT_ONCE]
            for order_id, answer in cancel_orders(self._exchange, self._symbol, chunk).items():
                self._note(order_id, answer)
        if self._unsure:
            self._attempt.note_trouble(f"{len(self._unsure)} cancels not confirmed")

    def _note(self, order_id: str, answer: CancelAnswer | None) -> None:
        outcome = answer.outcome if answer else None
        if answer is not None and outcome is CancelOutcome.CANCELLED:
            self._attempt.note_cancelled(order_id, answer.executed_quantity)
        elif outcome is CancelOutcome.ALREADY_GONE:
            self._attempt.evidence.order_gone(order_id)
        if outcome in {CancelOutcome.CANCELLED, CancelOutcome.ALREADY_GONE}:
            self._unsure.discard(order_id)
        elif outcome is CancelOutcome.REFUSED and self._refusals[order_id] >= REFUSALS_BELIEVED:
            # It will never be cancelled by its id: whether it rests is for the lists to say.
            self._unsure.discard(order_id)
        else:
            self._refusals[order_id] += outcome is CancelOutcome.REFUSED
            self._unsure.add(order_id)

    def _cancel_symbol(self, known_order_ids: tuple[str, ...]) -> None:
        try:
            self._exchange.cancel_all(self._symbol)
        except ExchangeError as error:
            self._unsure.update(known_order_ids)
            self._attempt.note_trouble(f"cancel-all not confirmed: {error}")
        else:
            for order_id in known_order_ids:
                # The answer names no order.
                self._attempt.evidence.order_gone(order_id)


def _seen(order: OpenOrder) -> OpenOrderSeen:
    return OpenOrderSeen(
        order_id=order.order_id,
        client_order_id=order.client_order_id or 0,
        side=str(order.side),
        price=str(order.price),
        remaining_quantity=str(order.remaining_quantity),
    )
