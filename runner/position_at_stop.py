"""What a cleanup does about the position: follow the policy, and complete the books that tell of it."""

from __future__ import annotations

from contextlib import suppress

import structlog

from exchanges.registry import Venue
from runner.closing import ClosingOrders
from runner.context import Context
from runner.evidence import Evidence
from runner.flatten import Flattener
from runner.loaded import LoadedInstance, StateUnreadable
from runner.place import Place
from runner.receipt import Receipt
from runner.receipt_reports import receipt_booking
from runner.unwinding import Cleaner, Epilogue, LastBooks, TooLate

log = structlog.get_logger(__name__)


class PositionAtStop:
    """The position of one cleanup attempt, whose orders are gone."""

    def __init__(self, context: Context, evidence: Evidence, cleaner: Cleaner) -> None:
        self._context = context
        self._evidence = evidence
        self._cleaner = cleaner
        self._closing: ClosingOrders | None = None
        #: Opened where the run's own part counts; None: they stay as the last iteration left them.
        self.books: LastBooks | None = None
        #: Why the position is not where it belongs, empty when it is.
        self.problem = ""

    @property
    def is_touched(self) -> bool:
        """Tell whether orders may have been sent that can rest, or arrive."""
        return self._closing is not None

    @property
    def is_settled(self) -> bool:
        """Tell whether every order sent got its answer, so that no fence is needed for it."""
        return self._closing is None or self._closing.settled

    def follow_policy(self, place: Place, venue: Venue) -> bool:
        """Bring the position to where the policy wants it; tell whether it is there."""
        policy = self._evidence.lease.policy
        # Whoever asked for the stop, and however: a hedge is not left half done.
        unwinds = policy.unwind or place.unwinds_at_stop
        if not unwinds and not policy.close_position:
            return True
        instance = place.instance
        if instance is None:
            # The orders are gone all the same; `start --force` leaves the position as it is.
            self.problem = f"the position cannot be brought back: {place.problem}"
            self._step("unwound", self.problem)
            return False
        self._closing = closing = ClosingOrders(self._context, self._evidence.lease, instance, venue)
        in_order = not unwinds or self._unwind(instance, venue, closing)
        if policy.close_position:
            in_order = self._close(instance, venue, closing)
        return in_order

    def _unwind(self, instance: LoadedInstance, venue: Venue, closing: ClosingOrders) -> bool:
        """Bring back what the run opened; tell whether it is where its strategy leaves it."""
        try:
            books = self._open_books(instance, venue, closing, self._cleaner)
            before, after, in_order = books.unwind()
        except StateUnreadable as error:
            # The orders are gone all the same; who cannot run that version has `start --force`.
            self.problem = f"what the run opened is not known: {error}"
            self._step("unwound", self.problem)
            return False
        self._evidence.position = (str(before), str(after), "run")
        self._step("unwound", f"net of this run {before} -> {after}")
        if not in_order:
            self.problem = f"{after} of what the run opened could not be brought back yet"
        return in_order

    def _close(self, instance: LoadedInstance, venue: Venue, closing: ClosingOrders) -> bool:
        """Bring the account's whole position to zero; tell whether it is there."""
        instrument = self._context.venues.instrument(instance.config)
        flattener = Flattener(
            venue, instrument, closing, renew=self._cleaner.renew, pause=self._cleaner.pause
        )
        before, after = flattener.close_position()
        self._evidence.position = (before, after, "account")
        self._step("position", f"{before} -> {after}")
        return not flattener.position_left

    def complete_books(self, instance: LoadedInstance, receipt: Receipt) -> Receipt:
        """Count the fills that came last, and return the receipt with the position that they lead to.

        The stop is over, and proven; nothing of it depends on this.
        """
        completed, lease = receipt, self._evidence.lease
        try:
            venue = self._context.venues.of(instance.config, for_cleanup=True)
            closing = self._closing or ClosingOrders(self._context, lease, instance, venue)
            books = self._open_books(instance, venue, closing, Epilogue(self._evidence.fence_ms))
            net_before, is_complete = books.standing.books.profit.net, False
            try:
                with suppress(TooLate):
                    is_complete = books.settle()
            finally:
                net = books.standing.books.profit.net
                completed = receipt.with_net(net_before, net if is_complete else None)
                # What is known by then, also when this is cut short.
                self._context.cleanup_leases.complete_books(
                    lease,
                    books_json=books.standing.books.model_dump_json(),
                    daily_json=books.daily_json,
                    intents=books.standing.intents,
                    receipt_json=completed.model_dump_json(),
                    bookings=[*books.bookings(), receipt_booking(completed)],
                )
        except Exception as error:  # noqa: BLE001 - the outcome stands, whatever becomes of the books
            log.warning("books not completed", instance=lease.instance_id, why=str(error))
        return completed

    def _open_books(
        self, instance: LoadedInstance, venue: Venue, closing: ClosingOrders, cleaner: Cleaner
    ) -> LastBooks:
        self.books = LastBooks(self._context, self._evidence.lease, instance, venue, closing, cleaner)
        self.books.note_cancelled(self._evidence.cancelled)
        return self.books

    def _step(self, step: str, detail: str) -> None:
        self._evidence.step(step, self._context.instances.now_ms(), detail)
