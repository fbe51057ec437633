"""A started instance and the state operations under a clock that a test moves; no runner, no venue."""

from __future__ import annotations

import redis

from market.orders import Role
from state import keys
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.due import CleanUp, Damaged, Due, IterateAgain
from state.durability import Keeps
from state.events import Events
from state.instances import Instances
from state.leases import Committed, Lease, Leases, Refusal
from state.permissions import Granted
from state.record import Record
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests.store_clock import StoreClock

NAME = "mm_01"
LEASE_MS = 2_000
CLEANUP_LEASE_MS = 3_000
GRACE_MS = 500
WINDOW_MS = 5_000
MARGIN_MS = 1_000
INTERVAL_MS = 10_000
RETRY_MS = 700
ATTEMPTS = 3


class StateBench:
    """One instance; each operation takes only what a test is about."""

    def __init__(self, client: redis.Redis, keeps: Keeps = Keeps.ALWAYS) -> None:
        self.client = client
        self.keeps = keeps
        self.clock = StoreClock(client)
        scripts = self.clock.scripts
        self.instances = Instances(client, scripts)
        self.events = Events(client)
        self.due = Due(client, scripts, grace_ms=GRACE_MS)
        self.leases = Leases(
            client,
            scripts,
            lease_ms=LEASE_MS,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.cleanup_leases = CleanupLeases(
            client,
            scripts,
            lease_ms=CLEANUP_LEASE_MS,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.start()

    @property
    def record(self) -> Record:
        """Return the instance's record."""
        record = self.instances.read(NAME)
        assert record is not None
        return record

    def due_score(self) -> int | None:
        """Return when a sweep has to look at the instance."""
        score = self.client.zscore(keys.DUE, NAME)
        return None if score is None else int(score)

    def start(self, name: str = NAME, *, force: bool = False) -> int:
        """Begin a run and return its epoch."""
        result = self.instances.start(
            name,
            config_version="v1",
            config_json="{}",
            slot=7,
            account="acc",
            by="test",
            accept=AcceptedLeft(epoch=self.record.epoch, left=self.record.left) if force else None,
            keeps=self.keeps,
            reach_ms=WINDOW_MS + MARGIN_MS,
        )
        return result.epoch

    def stop(self, policy: StopPolicy | None = None) -> None:
        """Close the gate."""
        self.instances.request_stop(NAME, by="test", reason="test", policy=policy or StopPolicy())

    def try_claim(self, *, tick: int | None, epoch: int = 1) -> Lease | Refusal:
        """Ask for the iteration lease; with a wake-up (no tick) that somebody has asked for."""
        if tick is None and self.client.hget(keys.record(NAME), "lease_token") is None:
            self.client.hset(keys.record(NAME), "woken", self.clock.now_ms)
        return self.leases.claim(NAME, epoch=epoch, tick=tick, task_id="its-task")

    def claim(self, tick: int | None = 0, *, epoch: int = 1) -> Lease:
        """Take the iteration lease."""
        claimed = self.try_claim(tick=tick, epoch=epoch)
        assert isinstance(claimed, Lease), claimed
        return claimed

    def authorize(self, lease: Lease, *, window_ms: int = WINDOW_MS) -> int:
        """Authorise one order; return the fence that it needs."""
        granted = self.leases.authorize(lease, window_ms=window_ms, orders=[(0, Role.QUOTE)])
        return granted.at_ms + window_ms + MARGIN_MS

    def commit(
        self,
        lease: Lease,
        *,
        resolved: bool = True,
        error: str = "",
        delay_ms: int = 0,
        interval_ms: int = INTERVAL_MS,
        state_json: str = "",
        order_ids: list[str] | None = None,
    ) -> Committed:
        """End an iteration."""
        return self.leases.commit(
            lease,
            resolved=resolved,
            state_json=state_json,
            interval_ms=interval_ms,
            next_task_id="next",
            error=error,
            error_delay_ms=delay_ms,
            order_ids=order_ids,
        )

    def iterate(self, tick: int | None = 0) -> Committed:
        """Claim and commit."""
        return self.commit(self.claim(tick))

    def try_claim_cleanup(self, *, epoch: int = 1) -> CleanupLease | Refusal:
        """Ask for the cleanup lease."""
        return self.cleanup_leases.claim(NAME, epoch=epoch, by="test")

    def claim_cleanup(self) -> CleanupLease:
        """Take the cleanup lease."""
        claimed = self.try_claim_cleanup()
        assert isinstance(claimed, CleanupLease), claimed
        return claimed

    def close(self, lease: CleanupLease, *, window_ms: int = WINDOW_MS) -> Granted:
        """Authorise an order that closes the position."""
        return self.cleanup_leases.authorize(lease, window_ms=window_ms, orders=[(0, Role.CLEANUP)])

    def finish(self, lease: CleanupLease, *, clean: bool, attempts_until_failed: int = ATTEMPTS) -> str:
        """End an attempt."""
        return self.cleanup_leases.finish(
            lease,
            clean=clean,
            outcome_json='{"told":1}',
            retry_after_ms=RETRY_MS,
            attempts_until_failed=attempts_until_failed,
        )

    def sweep(self) -> IterateAgain | CleanUp | Damaged | None:
        """Do what a worker does for an instance that is due."""
        if NAME not in self.due.ids(now_ms=self.clock.now_ms):
            return None
        return self.due.sweep(NAME, task_id="swept")
