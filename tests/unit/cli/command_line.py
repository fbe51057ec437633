"""A command line in this process, against a real server, with a worker that does as a test tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.main import run
from runner.receipt import Attempt, OpenOrderSeen, OrderList, Receipt, Result
from runner.receipt_reports import left_text
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.events import Events
from state.instances import Instances
from state.leases import Leases
from state.record import Record
from state.stop_story import AcceptedLeft

FILE: dict[str, Any] = {
    "metadata": {
        "exchange": "backpack",
        "symbol": "SOL_USDC",
        "market_type": "spot",
        "strategy": "standard",
    },
    "exchange_config": {},
    "strategy_config": {"spread": "0.1", "interval": 1},
    "live": False,
}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Return standard output, which must be one JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def instance(self) -> dict[str, Any]:
        """Return the only instance of the JSON."""
        (instance,) = self.json["instances"]
        assert isinstance(instance, dict)
        return instance


@dataclass(kw_only=True)
class Bench:
    """A server, a folder of instance files, and the command line."""

    client: redis.Redis
    config_dir: Path
    instances: Instances
    leases: Leases
    cleanup_leases: CleanupLeases
    events: Events
    capture: pytest.CaptureFixture[str] = field(repr=False)
    threads: list[threading.Thread] = field(default_factory=list)

    def run(self, *arguments: str) -> Ran:
        """Run a command of `manage.py`."""
        self.capture.readouterr()
        code = run(arguments)
        captured = self.capture.readouterr()
        return Ran(code=code, out=captured.out, err=captured.err)

    def configure(self, instance_id: str, **more: Any) -> Path:
        """Write an instance file."""
        path = self.config_dir / f"{instance_id}.json"
        path.write_text(json.dumps(FILE | more))
        return path

    def start(self, instance_id: str, *, stop: dict[str, str] | None = None, force: bool = False) -> int:
        """Begin a run without an exchange; return its epoch."""
        stored = json.dumps({"stop": stop}) if stop else "{}"
        result = self.instances.start(
            instance_id,
            config_version="v",
            config_json=stored,
            slot=1,
            account="backpack-simulated:test",
            by="test",
            accept=self.accept(instance_id) if force else None,
        )
        assert result.started
        return result.epoch

    def accept(self, instance_id: str) -> AcceptedLeft:
        """Accept whatever a failed run has left."""
        record = self.record(instance_id)
        return AcceptedLeft(epoch=record.epoch, left=record.left)

    def record(self, instance_id: str) -> Record:
        """Return the record, which must exist."""
        record = self.instances.read(instance_id)
        assert record is not None
        return record

    def claim(self, instance_id: str, epoch: int = 1, by: str = "worker test") -> CleanupLease:
        """Take the cleanup lease."""
        lease = self.cleanup_leases.claim(instance_id, epoch=epoch, by=by)
        assert isinstance(lease, CleanupLease)
        return lease

    def finish(
        self,
        lease: CleanupLease,
        *,
        left: tuple[str, ...] = (),
        cancelled: tuple[str, ...] = (),
        until: int = 3,
    ) -> str:
        """End a cleanup: clean, or with the orders `left`."""
        outcome = outcome_of(lease, left=left, cancelled=cancelled, now_ms=self.instances.now_ms())
        return self.cleanup_leases.finish(
            lease,
            clean=outcome.is_clean,
            outcome_json=outcome.model_dump_json(),
            retry_after_ms=10,
            attempts_until_failed=until,
            left=left_text(outcome),
        )

    def clean_up(self, instance_id: str, *, cancelled: tuple[str, ...] = (), by: str = "worker test") -> None:
        """Do the whole work of a cleanup that goes well."""
        lease = self.claim(instance_id, self.record(instance_id).epoch, by)
        at_ms = self.instances.now_ms()
        for step in ("cancels_sent", "iteration_released", "fence_passed", "orders_cancelled", "verified"):
            self.events.cleanup_step(instance_id, epoch=lease.epoch, at_ms=at_ms, step=step, detail="")
        self.finish(lease, cancelled=cancelled)

    def when_stopping(self, instance_id: str, work: Callable[[], object]) -> None:
        """Do `work` in another thread as soon as a stop was requested."""
        position = self.events.last_id()

        def wait() -> None:
            after = position
            while True:
                for event in self.events.read(after, block_ms=5000):
                    after = event.stream_id
                    if (event.event, event.instance_id) == ("stop_requested", instance_id):
                        work()
                        return

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self.threads.append(thread)


def outcome_of(
    lease: CleanupLease, *, left: tuple[str, ...] = (), cancelled: tuple[str, ...] = (), now_ms: int = 1
) -> Receipt:
    """Return the outcome of a cleanup attempt."""
    orders = tuple(
        OpenOrderSeen(order_id=name, client_order_id=1, side="buy", price="1", remaining_quantity="1")
        for name in left
    )
    lists = (OrderList(at_ms=now_ms, own_orders=orders), OrderList(at_ms=now_ms, own_orders=orders))
    result = Result.ORDERS_LEFT if left else Result.CLEAN
    problem = "the exchange refuses cancels" if left else ""
    return Receipt(
        result=result,
        instance_id=lease.instance_id,
        epoch=lease.epoch,
        account=lease.account,
        symbol="SOL_USDC",
        slot=lease.slot,
        config_version=lease.config_version,
        started_at_ms=lease.started_at_ms,
        updated_at_ms=now_ms,
        asked=(),
        policy=lease.policy,
        in_flight=None,
        attempts=(
            Attempt(
                number=lease.attempt,
                by="worker test",
                claimed_at_ms=now_ms,
                ended_at_ms=now_ms,
                result=result,
                problem=problem,
                steps=(),
                cancelled=len(cancelled),
            ),
        ),
        attempt_count=lease.attempt,
        cancelled_order_ids=cancelled,
        last_lists=lists,
        orders_left=orders,
        fence_ms=0,
        had_unresolved=False,
        problem=problem,
    )
