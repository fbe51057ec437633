"""A receipt for programs: times as ISO 8601, no secrets. The command line and the HTTP API tell the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from state.times import iso

if TYPE_CHECKING:
    from runner.receipt import Attempt, Receipt


def receipt_json(receipt: Receipt | None) -> dict[str, Any] | None:
    """Return a receipt with its times as ISO 8601; keys and values stable for scripts."""
    if receipt is None:
        return None
    times = {"started_at_ms", "updated_at_ms", "fence_ms"}
    nested = {"asked", "in_flight", "attempts", "last_lists", "unanswered"}
    value = receipt.model_dump(mode="json", exclude=times | nested)
    flight = receipt.in_flight
    return value | {
        "clean": receipt.is_clean,
        "by": receipt.by,
        "reason": receipt.reason,
        "started_at": iso(receipt.started_at_ms or None),
        "requested_at": iso(receipt.requested_at_ms),
        "verified_at": iso(receipt.verified_at_ms),
        "updated_at": iso(receipt.updated_at_ms),
        "unresolved_until": iso(receipt.fence_ms) if receipt.had_unresolved else None,
        "asked": [_times_read(asked.model_dump(mode="json")) for asked in receipt.asked],
        "in_flight": None if flight is None else _times_read(flight.model_dump(mode="json")),
        "attempts": [_attempt_json(attempt) for attempt in receipt.attempts],
        "last_lists": [_times_read(seen.model_dump(mode="json")) for seen in receipt.last_lists],
        "unanswered": [_times_read(each.model_dump(mode="json")) for each in receipt.unanswered],
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    value = _times_read(attempt.model_dump(mode="json", exclude={"steps"}))
    return value | {"steps": [_times_read(step.model_dump(mode="json")) for step in attempt.steps]}


def _times_read(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` with each time in ms as ISO 8601, under the name without ``_ms``."""
    return {
        name.removesuffix("_ms"): (iso(held or None) if name.endswith("_ms") else held)
        for name, held in value.items()
    }
