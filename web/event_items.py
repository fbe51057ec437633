"""Lifecycle events as the API gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel

from ledger.queries import EventRecord
from runner.kept_receipts import receipt_in
from runner.stop_progress import told
from state.events import Event
from web.history_models import EventItem

#: Of the receipt in an event: the whole one has a path of its own.
TOLD_OF_RECEIPT = ("result", "problem")


def event_item(event: Event) -> EventItem:
    """Return an event of the stream."""
    phase, detail = told(event)
    return EventItem(
        stream_id=event.stream_id,
        instance_id=event.instance_id,
        epoch=event.epoch,
        event=event.event,
        at_ms=event.at_ms,
        phase=phase,
        detail=detail,
        fields=_short(event.details),
    )


def event_item_of_ledger(record: EventRecord) -> EventItem:
    """Return an event of the ledger."""
    return event_item(
        Event(
            stream_id=record.stream_id,
            event=record.event,
            instance_id=record.instance_id,
            epoch=record.epoch,
            at_ms=record.at_ms,
            fields=record.fields,
        )
    )


def sent(event: str, data: BaseModel, *, stream_id: str = "") -> str:
    """Return a server-sent event."""
    place = f"id: {stream_id}\n" if stream_id else ""
    return f"{place}event: {event}\ndata: {data.model_dump_json()}\n\n"


def _short(fields: Mapping[str, str]) -> dict[str, str]:
    receipt = receipt_in(fields.get("outcome", ""))
    if receipt is None:
        return dict(fields)
    told = receipt.model_dump(mode="json", include=set(TOLD_OF_RECEIPT))
    return {**fields, "outcome": json.dumps(told)}
