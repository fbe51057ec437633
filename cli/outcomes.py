"""Outcomes of cleanups as Redis keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.outcome import Outcome


def read_outcome(text: str) -> Outcome | None:
    """Return the outcome in `text`, None when there is none that this version understands."""
    if not text:
        return None
    # Here, because its models are slow to import: a stop closes the gate before it needs them.
    from runner.outcome import Outcome

    try:
        return Outcome.model_validate_json(text)
    except ValueError:
        return None


def left_ids(text: str) -> tuple[str, ...] | None:
    """Return the ids of own orders still open by the last list, None when nobody knows."""
    outcome = read_outcome(text)
    if outcome is None or outcome.orders_left is None:
        return None
    return tuple(order.order_id for order in outcome.orders_left)


def problem_of(text: str) -> str:
    """Return in words why an outcome is not clean, empty when nobody said."""
    outcome = read_outcome(text)
    return (outcome.problem or str(outcome.result)) if outcome else ""
