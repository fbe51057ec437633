"""What a feed is told of each instance."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from cli.watching import watched_instance
from feed.watched import WakeOnMove
from runner.loaded import from_config
from state.record import RECORD_FIELDS, Record, record_of
from tests.factories import INSTANCE_ID, instance_config


def running() -> Record:
    said = {"phase": "running", "epoch": "1", "slot": "7", "started_at": "1000"}
    record = record_of(INSTANCE_ID, [said.get(name) for name in RECORD_FIELDS])
    assert record is not None
    return record


def wish(record: Record, **strategy: object) -> WakeOnMove | None:
    content = {"spread": 0.2, "quantity": 1, "max_orders": 1, "interval": 60, **strategy}
    return watched_instance(record, from_config(instance_config(strategy_config=content))).wake_on_move


def test_prices_wait_for_the_interval_unless_the_file_says_otherwise() -> None:
    assert wish(running()) is None
    assert wish(running(), wake_on_move_bps=5) == WakeOnMove(move_bps=Decimal(5), spacing_s=1.0)
    assert wish(running(), wake_on_move_bps=0.5, wake_spacing="0.2") == WakeOnMove(
        move_bps=Decimal("0.5"), spacing_s=0.2
    )


def test_a_run_that_is_paused_is_not_woken_by_prices() -> None:
    assert wish(replace(running(), paused_at_ms=2000), wake_on_move_bps=5) is None
