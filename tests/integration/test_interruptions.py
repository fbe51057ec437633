"""Whatever line an iteration is interrupted at, no order that it sent is forgotten."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from structlog.testing import capture_logs

from cli.stack.valkey import ValkeyServer
from exchanges.base import PlaceResult
from exchanges.errors import OutcomeUnknown
from market.orders import NewOrder, Side
from market.snapshot import Snapshot
from runner import execution, iteration
from runner.loaded import parse_books
from settings import Settings
from strategies.base import Decision, State
from tests.factories import INSTANCE_ID, SLOT, loaded_instance, quote
from tests.integration.runner_bench import RunnerBench

#: Where an interrupt of a task hits: what an iteration does, and what sends its orders.
FILES = {str(Path(module.__file__ or "")) for module in (iteration, execution)}


class InterruptAtLine:
    """Raises what a soft time limit, or an interrupt by a cleanup, raises: once, before the n-th line."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.at = ""

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        """Count the lines of the files of interest."""
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise SoftTimeLimitExceeded
        return self


def run_interrupted(bench: RunnerBench, number: int) -> str:
    """Run an iteration that is interrupted at the n-th line; return where, empty if it ended before."""
    interrupt = InterruptAtLine(number)
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        # A picture of every traceback in the log would take minutes. What an iteration does not catch is as
        # its death: the lease stands until it is over.
        with capture_logs(), suppress(SoftTimeLimitExceeded):
            bench.run(0)
    finally:
        sys.settrace(before)
    return interrupt.at


def assert_nothing_is_forgotten(bench: RunnerBench, where: str) -> None:
    """Check that each order on the book is known, or looked for behind a fence that stands."""
    data = bench.context.instances.run_data(INSTANCE_ID, SLOT)
    known = {order.client_order_id for order in parse_books(data.books_json).orders.values()}
    for order in bench.venue.resting.values():
        if order.client_order_id in known:
            continue
        assert order.client_order_id in data.intents, f"{where}: order {order.order_id} is forgotten"
        now_ms = bench.context.instances.now_ms()
        assert bench.record.fence_ms > now_ms, f"{where}: no fence for {order.order_id}"


@pytest.mark.parametrize("answer", ["as usual", "lost and found", "lost"])
def test_an_interrupt_at_any_line_forgets_no_order(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    def decide(_: Snapshot, state: State) -> Decision[State]:
        return Decision(quotes=(quote(Side.BUY, "99"), quote(Side.SELL, "101")), state=state)

    instance = loaded_instance(decide=decide, interval_ms=1_000, window_ms=60_000)
    places: list[str] = []
    for number in range(1, 2_000):
        redis_client.flushdb()
        bench = RunnerBench(valkey_server.url, monkeypatch, instance, Settings(fence_margin_ms=1_000))

        def lose_the_answer(orders: tuple[NewOrder, ...], bench: RunnerBench = bench) -> object:
            for order in orders:
                bench.venue.accept(order)
            return tuple(PlaceResult(error=OutcomeUnknown("no answer")) for _ in orders)

        if answer != "as usual":
            bench.venue.faults["place"].append(lose_the_answer)
        if answer == "lost":
            bench.venue.always["resolve_placement"] = lambda *_: None
        where = run_interrupted(bench, number)
        assert_nothing_is_forgotten(bench, where)
        bench.client.close()
        if not where:
            break
        places.append(where)
    assert any(where.startswith("execution.py") for where in places)
    assert len(set(places)) > 100, "the lines of an iteration"
