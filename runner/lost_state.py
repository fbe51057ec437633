"""Before a run begins: whether an earlier one is known elsewhere that the state server knows nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json

from exchanges.base import Exchange
from market.orders import OpenOrder
from runner.receipt import Result
from settings import Settings
from state.client_ids import owns
from state.record import Record
from wording import said

if TYPE_CHECKING:
    from ledger.database import Ledger
    from ledger.queries import RunRecord

_SQLITE = "sqlite:///"
#: Orders that a message names.
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Last:
    """What the state server knows of an instance."""

    instance_id: str
    #: Of a run that is stopped; None: it has never run.
    record: Record | None
    slot: int


@dataclass(frozen=True, kw_only=True)
class Loss:
    """State that must have been there is gone."""

    why: str
    #: The new run must come after this one.
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Before:
    """What is known of the time before a start."""

    #: None: nothing speaks against a start.
    loss: Loss | None
    #: The newest run that anything knows of, 0 for none.
    epoch: int
    #: Empty, or why the ledger could not be asked.
    warning: str = ""


def look_before_start(
    last_runs: LastRuns, venue: Exchange, listed: Sequence[OpenOrder], last: Last
) -> Before:
    """Return what orders that rest in the instance's slot, and the ledger, say about its earlier runs.

    `listed` are the open orders of the account in the symbol. Raises `ExchangeError`.
    """
    record, instance_id = last.record, last.instance_id
    epoch, unclean, warning = (record.epoch if record else 0), "", ""
    if record is None:
        try:
            run = last_runs.of(instance_id)
        except Exception as error:  # noqa: BLE001 - SQLAlchemy and its drivers; what rests is looked at all the same
            run, warning = (
                None,
                said(
                    "the ledger cannot tell whether {instance_id} has run before: {error}",
                    instance_id=instance_id,
                    error=error,
                ),
            )
        if run is not None:
            epoch = run.epoch
            if run.outcome != Result.CLEAN:
                unclean = said("the ledger knows run {epoch}, which did not end clean", epoch=run.epoch)
    known = told_order_ids(record.outcome, "orders_kept") if record else ()
    own = (order for order in listed if owns(last.slot, order.client_order_id))
    # Asked by id: a list that lags shows for a while what the last stop has cancelled.
    unknown = [order.order_id for order in own if order.order_id not in known and _rests(venue, order)]
    why = (
        said("orders rest in its slot ({unknown})", unknown=", ".join(unknown[:_NAMED]))
        if unknown
        else unclean
    )
    loss = (
        Loss(why=said("{why}, and the state server knows nothing of it", why=why), epoch=epoch + 1)
        if why
        else None
    )
    return Before(loss=loss, epoch=epoch, warning=warning)


def told_order_ids(receipt_json: str, name: str) -> tuple[str, ...]:
    """Return the ids of the orders that a receipt has under `name`, none where it cannot be read."""
    try:
        return tuple(str(order["order_id"]) for order in from_json(receipt_json or "{}").get(name, ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _rests(venue: Exchange, order: OpenOrder) -> bool:
    found = venue.find_order(order.symbol, order.client_order_id or 0)
    return found is not None and found.order_id == order.order_id and found.status.is_open


class LastRuns:
    """The newest runs that the ledger knows; the first question opens it, `close` ends that."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked yet."""
        self._url = settings.ledger_url
        self._ledger: Ledger | None = None

    def of(self, instance_id: str) -> RunRecord | None:
        """Return the newest run of an instance, None for none. Raises `LedgerError`."""
        if self._url.startswith(_SQLITE) and not Path(self._url.removeprefix(_SQLITE)).exists():
            return None
        # Only here: most starts need no ledger, and loading what speaks SQL takes longer than they do.
        from ledger.database import open_ledger
        from ledger.queries import runs

        if self._ledger is None:
            self._ledger = open_ledger(self._url)
        found = runs(self._ledger, instance_id, limit=1)
        return found[0] if found else None

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()


def last_run(settings: Settings, instance_id: str) -> RunRecord | None:
    """Return the newest run of an instance that the ledger knows, None for none. Raises `LedgerError`."""
    with closing(LastRuns(settings)) as known:
        return known.of(instance_id)
