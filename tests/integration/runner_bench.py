"""An instance on a real state server and a venue in memory, driven without any task queue."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import redis

from market.orders import OpenOrder, Role
from runner import loaded
from runner.cleanup import Interrupt, run_cleanup
from runner.context import Context, open_context
from runner.ending import IsEnding, never
from runner.iteration import run_iteration
from runner.loaded import LoadedInstance
from runner.publisher import Iteration
from runner.receipt import Receipt
from settings import Settings
from state import keys
from state.client_ids import intent_field
from state.leases import Committed, Lease
from state.record import Phase, Record
from state.stop_policy import StopPolicy
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT, VERSION
from tests.fake_venue import FakeVenue, OneVenue


class RunnerBench:
    """A started instance; `run` an iteration, or `stop` and `clean_up`."""

    #: Of all benches of a test, closed at its end.
    clients: ClassVar[list[redis.Redis]] = []

    def __init__(
        self, url: str, monkeypatch: pytest.MonkeyPatch, instance: LoadedInstance, settings: Settings
    ) -> None:
        self.venue = FakeVenue()
        self.instance = instance
        context = open_context(replace(settings, state_url=url))
        self.context: Context = replace(context, venues=OneVenue(self.venue))
        self.client: redis.Redis = context.client
        self.clients.append(context.client)
        monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, instance))
        #: Whether the worker shuts down.
        self.is_ending: IsEnding = never
        self.start()

    def start(self) -> None:
        """Begin a run."""
        self.context.instances.start(
            INSTANCE_ID, config_version=VERSION, config_json="", slot=SLOT, account=ACCOUNT, by="test"
        )

    @property
    def record(self) -> Record:
        """Return the instance's record."""
        record = self.context.instances.read(INSTANCE_ID)
        assert record is not None
        return record

    @property
    def phase(self) -> Phase:
        """Return where the instance stands."""
        return self.record.phase

    @property
    def cause_of_its_stop(self) -> str:
        """Return what the event of the last request to stop tells programs."""
        found = [
            each for each in self.context.events.of_instance(INSTANCE_ID) if each.event == "stop_requested"
        ]
        return found[-1].fields["cause"]

    def field(self, name: str) -> str | None:
        """Return one raw field of the record."""
        value = self.client.hget(keys.record(INSTANCE_ID), name)
        return None if value is None else str(value)

    def set_field(self, name: str, value: str | int) -> None:
        """Change one raw field of the record."""
        self.client.hset(keys.record(INSTANCE_ID), name, str(value))

    def run(self, tick: int | None = 0, *, epoch: int = 1) -> tuple[Iteration, ...]:
        """Deliver one message; a scheduled one is made due first, a wake-up asked for."""
        now_ms = self.context.instances.now_ms()
        self.set_field("due", now_ms)
        if tick is None:
            self.set_field("woken", now_ms)
        return self.deliver(tick, epoch=epoch)

    def deliver(self, tick: int | None, *, epoch: int = 1) -> tuple[Iteration, ...]:
        """Deliver one message as it comes."""
        return run_iteration(
            self.context,
            INSTANCE_ID,
            epoch=epoch,
            tick=tick,
            own_task_id="task",
            is_ending=self.is_ending,
        )

    def claim(self) -> Lease:
        """Put an iteration of somebody else in flight."""
        self.set_field("woken", self.context.instances.now_ms())
        claimed = self.context.leases.claim(INSTANCE_ID, epoch=1, tick=None, task_id="its-task")
        assert isinstance(claimed, Lease)
        return claimed

    def authorize(self, lease: Lease, *, window_ms: int) -> None:
        """Authorise an order of that iteration."""
        self.context.leases.authorize(lease, window_ms=window_ms, orders=[(0, Role.QUOTE)])

    def commit(
        self, lease: Lease, *, resolved: bool = True, order_ids: tuple[str, ...] | None = None
    ) -> Committed:
        """End that iteration."""
        return self.context.leases.commit(
            lease,
            resolved=resolved,
            state_json="",
            interval_ms=60_000,
            next_task_id="n",
            order_ids=order_ids,
        )

    def rest_own(self, *orders: OpenOrder) -> None:
        """Put orders on the book as an iteration of this run did that could not say so any more."""
        now_ms = self.context.instances.now_ms()
        self.venue.rest(*(replace(order, created_at_ms=now_ms) for order in orders))
        for order in orders:
            self.client.hset(keys.intents(INSTANCE_ID), intent_field(order.client_order_id or 0), now_ms)

    def knows(self, *order_ids: str) -> None:
        """Let an iteration end that knew these open orders."""
        self.commit(self.claim(), order_ids=order_ids)

    def leave_unresolved(self, *, window_ms: int) -> int:
        """Let an iteration end without an answer to its placement; return the fence that follows."""
        lease = self.claim()
        self.authorize(lease, window_ms=window_ms)
        self.commit(lease, resolved=False)
        return self.record.fence_ms

    def stop(self, policy: StopPolicy | None = None) -> None:
        """Close the gate."""
        self.context.instances.request_stop(
            INSTANCE_ID, by="test", reason="tested", policy=policy or StopPolicy()
        )

    def clean_up(self, interrupt: Interrupt | None = None) -> Receipt | None:
        """Run one attempt."""
        return run_cleanup(
            self.context, INSTANCE_ID, epoch=1, by="test", interrupt=interrupt, is_ending=self.is_ending
        )

    def stop_and_clean_up(self, policy: StopPolicy | None = None) -> Receipt:
        """Close the gate, run one attempt, and return its outcome."""
        self.stop(policy)
        outcome = self.clean_up()
        assert outcome is not None
        return outcome
