"""Read receipts, also those that the version before receipts wrote."""

from __future__ import annotations

import json

from runner.receipt import Asked, Attempt, Model, OpenOrderSeen, OrderList, Receipt, Result, Step
from state.stop_policy import StopPolicy


def read_receipt(text: str) -> Receipt:
    """Return the receipt in `text`, also one that the version before receipts wrote. Raises `ValueError`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply for a receipt") from None
    if isinstance(value, dict) and "version" not in value:
        return _from_first_layout(_FirstLayout.model_validate(value))
    return Receipt.model_validate(value)


class _FirstLayout(Model):
    """The outcome of one attempt, as it was kept before there were receipts."""

    result: Result
    instance_id: str
    epoch: int
    attempt: int
    by: str
    reason: str
    steps: tuple[Step, ...]
    cancelled_order_ids: tuple[str, ...]
    last_lists: tuple[OrderList, ...]
    orders_left: tuple[OpenOrderSeen, ...] | None
    orders_kept: tuple[OpenOrderSeen, ...] = ()
    fence_ms: int
    had_unresolved: bool
    position_before: str | None = None
    position_after: str | None = None
    problem: str = ""


def _from_first_layout(old: _FirstLayout) -> Receipt:
    times = [step.at_ms for step in old.steps] + [seen.at_ms for seen in old.last_lists]
    begun_at_ms, ended_at_ms = min(times, default=0), max(times, default=0)
    unwound = any(step.step == "unwound" for step in old.steps)
    asked = Asked(by="", reason=old.reason, at_ms=begun_at_ms, policy=StopPolicy())
    return Receipt(
        result=old.result,
        instance_id=old.instance_id,
        epoch=old.epoch,
        account="",
        symbol="",
        slot=0,
        config_version="",
        started_at_ms=0,
        updated_at_ms=ended_at_ms,
        asked=(asked,) if old.reason else (),
        policy=StopPolicy(cancel_orders=not old.orders_kept),
        in_flight=None,
        attempts=(
            Attempt(
                number=old.attempt,
                by=old.by,
                claimed_at_ms=begun_at_ms,
                ended_at_ms=ended_at_ms,
                result=old.result,
                problem=old.problem,
                steps=old.steps,
                cancelled=len(old.cancelled_order_ids),
            ),
        ),
        attempt_count=old.attempt,
        cancelled_order_ids=old.cancelled_order_ids,
        last_lists=old.last_lists,
        orders_left=old.orders_left,
        orders_kept=old.orders_kept,
        fence_ms=old.fence_ms,
        had_unresolved=old.had_unresolved,
        position_before=old.position_before,
        position_after=old.position_after,
        position_of="" if old.position_before is None else "run" if unwound else "account",
        problem=old.problem,
    )
