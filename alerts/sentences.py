"""What an event says, by the key of a text: from its codes and figures, never from its sentences.

Where an event of another version lacks them, what it says itself is told as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from alerts.phrases import Words, words
from state.events import UNREADABLE, Event
from state.stop_story import StopCause

#: Characters of a text that comes from elsewhere.
MOST_TEXT = 600
#: Orders that a message names.
MOST_NAMED = 20
SIDES = frozenset({"buy", "sell"})
REASONS = frozenset({"state_server", "record", "workers", "life"})


def ended(cause: str, reason: str) -> Words:
    """Return why a run has ended by itself."""
    known = cause if cause in set(StopCause) else StopCause.STRATEGY
    return words(f"ends.{known}", reason=reason[:MOST_TEXT])


def why_silent(said: Mapping[str, str]) -> Words | str:
    """Return why a guard has acted."""
    reason = said.get("silence", "")
    if reason not in REASONS:
        return said.get("why", "no sign of life")[:MOST_TEXT]
    return words(f"guard.{reason}", time=said.get("silent_s", "?"), queue=said.get("queue", "?"))


def not_clean(event: Event, outcome: str) -> Words | None:
    """Return what the receipt of a stop that failed has left, None where there is none to be read."""
    receipt = _receipt(outcome)
    left = _left(receipt)
    if left is None:
        return None
    problem = str(receipt.get("problem", ""))[:MOST_TEXT]
    return words(
        "stop_failed",
        epoch=event.epoch,
        name=event.instance_id,
        left=left,
        problem=words("problem", problem=problem) if problem else "",
    )


def clean_at_last(event: Event, outcome: str) -> Words | None:
    """Return that a stop that had failed is clean, None where no receipt says so."""
    receipt = _receipt(outcome)
    if receipt.get("result") != "clean":
        return None
    return words("clean_at_last", epoch=event.epoch, count=receipt.get("attempt_count", "?"))


def damaged(before: Mapping[str, str]) -> Words | None:
    """Return what is wrong with a record, None where the request to stop in front of the alert is missing."""
    return words("damaged", why=before["reason"][:MOST_TEXT]) if "reason" in before else None


def cut_words(cuts: Sequence[object], facts: Sequence[Any]) -> Words | str:
    """Return what limits cut: by their facts, or in the sentences that came without."""
    told = [_cut(each) for each in facts]
    parts = list(cuts) if len(told) != len(cuts) or None in told else told
    return _joined([part if isinstance(part, Words) else str(part)[:MOST_TEXT] for part in parts])


def _joined(parts: Sequence[Words | str]) -> Words | str:
    if not parts:
        return ""
    return reduce(lambda first, second: words("cuts", first=first, second=second), parts)


def _cut(fact: Any) -> Words | None:
    if not isinstance(fact, dict) or "limit" not in fact:
        return None
    said = {str(name): str(value)[:MOST_TEXT] for name, value in fact.items()}
    side, price = said.get("side", ""), said.get("price")
    if side not in SIDES or price is None:
        return words("cut.stale" if "detail" in said else "cut.all", **{"detail": "", **said})
    level = said.get("level")
    place = words("place.taker") if level is None else words("place.level", level=level)
    common = {"limit": said["limit"], "side": words(f"side.{side}"), "price": price, "place": place}
    return words(
        "cut.reduced" if "allowed" in said else "cut.removed",
        quantity=said.get("wanted", "?"),
        allowed=said.get("allowed", ""),
        **common,
    )


def _receipt(outcome: str) -> dict[str, Any]:
    try:
        found = json.loads(outcome)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _left(receipt: Mapping[str, Any]) -> Words | None:
    match receipt.get("result"):
        case "orders_left":
            try:
                names = [str(order["order_id"]) for order in receipt["orders_left"]]
            except UNREADABLE:
                return words("left.unknown")
            shown, more = ", ".join(names[:MOST_NAMED]), len(names) - MOST_NAMED
            if more > 0:
                return words("left.orders_more", names=shown, count=more)
            return words("left.orders", names=shown)
        case "position_left":
            after = receipt.get("position_after")
            if after is None:
                return words("left.position_unknown")
            return words("left.position", quantity=str(after)[:MOST_TEXT])
        case "unverified":
            return words("left.unknown")
        case _:
            return None
