"""A stop that is asked for while an iteration is in flight: the first one, which places the orders."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from bench.stop_events import DEADLINE_S, NotSettled, follow, record_of
from runner.context import Context
from runner.lifecycle import start_instance
from runner.receipt import FlightEnd
from state.stop_policy import StopPolicy

#: The stop is asked for so long after the iteration has begun, by turns: while it looks, decides, and places.
INTO_FLIGHT_MS = (0, 25, 50, 75)
#: An iteration may have ended just before the request; then another one is stopped, in half that time.
TRIES = 6


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """One stop of an instance whose iteration was in flight, ms from its request."""

    #: How that iteration ended.
    ended: FlightEnd
    released_ms: float
    finished_ms: float
    #: Orders that it had placed by then.
    cancelled: int


def stop_in_flight(context: Context, instance_id: str, into_ms: int) -> InFlight:
    """Start an instance, and stop it so long into its first iteration, or less. Raises `NotSettled`."""
    for tried in range(TRIES):
        position = context.events.last_id()
        if not start_instance(context, instance_id, by="bench").result.started:
            raise NotSettled("the instance is not stopped")
        _wait_for_flight(context, instance_id)
        threading.Event().wait(into_ms / 2**tried / 1000)
        context.instances.request_stop(instance_id, by="bench", reason="bench", policy=StopPolicy())
        after_ms, receipt = follow(context, instance_id, position)
        flight = receipt.in_flight
        if flight is not None and flight.ended is not FlightEnd.NONE:
            return InFlight(
                ended=flight.ended,
                released_ms=after_ms["iteration_released"],
                finished_ms=after_ms["finished"],
                cancelled=len(receipt.cancelled_order_ids),
            )
    raise NotSettled(f"no iteration was in flight {into_ms} ms or less after it had begun, {TRIES} times")


def _wait_for_flight(context: Context, instance_id: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not record_of(context, instance_id).lease_until_ms:
        if time.monotonic() > deadline:
            raise NotSettled(f"no iteration has begun within {DEADLINE_S:g} s")
