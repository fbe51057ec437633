"""A hypothesis state machine that attacks the lifecycle scripts on a real server.

Tasks are killed, paused, doubled and delayed; requests reach the exchange at any later time; the state
server loses what is not on its disk. The machine plays the exchange (it accepts a request until its signed
time + window), the clock and the server's process, and checks the invariants of the design after every step.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from market.orders import Role
from state import keys
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.due import CleanUp, Due, IterateAgain
from state.durability import Keeps
from state.instances import Instances
from state.leases import Lease, LeaseLost, Leases, Refusal
from state.own_fills import OwnFills
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.run_changes import RunChanges
from state.stop_policy import StopPolicy
from tests.integration.lifecycle_server import NAME, LifecycleServer

WINDOW_MS = 2_000
MARGIN_MS = 1_000
LEASE_MS = 2_000
CLEANUP_LEASE_MS = 3_000
GRACE_MS = 500
INTERVAL_MS = 1_000


@dataclass
class Request:
    """A placement on its way to the exchange."""

    signed_at_ms: int
    epoch: int


@dataclass
class Task:
    """An iteration at some point of its life."""

    lease: Lease
    signed_at_ms: int | None = None
    request: Request | None = None
    unresolved: int = 0


@dataclass
class Cleaner:
    """A cleanup at some point of its life."""

    lease: CleanupLease
    empty_lists: int = 0


class Lifecycle(LifecycleServer):
    """The machine; its server is set by the test before it runs."""

    def __init__(self) -> None:
        super().__init__()
        scripts = self.scripts
        self.instances = Instances(self.client, scripts)
        self.leases = Leases(
            self.client,
            scripts,
            lease_ms=LEASE_MS,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.cleanup_leases = CleanupLeases(
            self.client,
            scripts,
            lease_ms=CLEANUP_LEASE_MS,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.changes = RunChanges(self.client, scripts)
        self.due = Due(self.client, scripts, grace_ms=GRACE_MS)
        #: Every client order id that was ever given.
        self.given: set[int] = set()
        self.messages: list[tuple[int, int | None]] = []
        self.cleanups: list[int] = []
        self.tasks: list[Task] = []
        self.cleaners: list[Cleaner] = []
        self.flying: list[Request] = []
        #: Epochs of the orders on the book.
        self.book: list[int] = []
        self.stopped_epochs: set[int] = set()
        self.clean_epoch = 0
        #: The run is paused, and whoever asked for that was told so.
        self.is_paused = False
        self.newest_token = ""
        #: When a wake-up was asked for that no iteration has answered yet; None: there is none.
        self.woken_at_ms: int | None = None
        self.wake = OwnFills(self.client, scripts).wake

    def _phase(self) -> Phase:
        record = self.instances.read(NAME)
        return record.phase if record else Phase.STOPPED

    @rule()
    def start(self) -> None:
        """Start, and mostly let the first iteration begin."""
        result = self.instances.start(
            NAME,
            config_version="v",
            config_json="{}",
            slot=1,
            account="a",
            by="test",
            keeps=Keeps.EVERYSEC,
            reach_ms=WINDOW_MS + MARGIN_MS,
        )
        if result.started:
            self.is_paused = False
            self.woken_at_ms = None
            assert not self.book, "a run started while orders of an old one are open"
            self.messages.append((result.epoch, 0))

    @rule()
    def stop(self) -> None:
        result = self.instances.request_stop(NAME, by="test", reason="test", policy=StopPolicy())
        if result.result == "stopping":
            self.stopped_epochs.add(result.epoch)

    @precondition(lambda self: self._phase() is Phase.RUNNING)
    @rule()
    def pause(self) -> None:
        assert self.changes.pause(NAME, by="test", reason="").result in {"paused", "joined"}
        self.is_paused = True

    @precondition(lambda self: self._phase() is Phase.RUNNING)
    @rule()
    def resume(self) -> None:
        resumed = self.changes.resume(NAME, by="test").result
        assert (resumed == "resumed") == self.is_paused
        self.is_paused = False

    @rule()
    def sweep(self) -> None:
        for name in self.due.ids(now_ms=self.now_ms):
            work = self.due.sweep(name, task_id="t")
            if isinstance(work, IterateAgain):
                self.messages.append((work.epoch, work.tick))
                self.woken_at_ms = None
            elif isinstance(work, CleanUp):
                self.cleanups.append(work.epoch)
        self._nobody_was_woken_in_vain()

    @rule()
    def sweep_while_the_broker_is_away(self) -> None:
        for name in self.due.ids(now_ms=self.now_ms):
            if self.due.sweep(name, task_id="t") is not None:
                self.due.not_sent(name)
        # At any moment, also of one that nobody has swept.
        self.due.not_sent(NAME)

    def _nobody_was_woken_in_vain(self) -> None:
        """After a sweep: what was asked for long enough ago has been claimed or published."""
        record = self.instances.read(NAME)
        if self.woken_at_ms is None or record is None or record.phase is not Phase.RUNNING:
            return
        since_ms = max(self.woken_at_ms, record.lease_until_ms)
        assert self.now_ms <= since_ms + GRACE_MS, "a wake-up was lost"

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), again=st.booleans())
    def deliver(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.messages) - 1))
        epoch, tick = self.messages[index] if again else self.messages.pop(index)
        if tick is None:
            # Else most of them would be answered by now, and claim nothing.
            self._wake()
        before = self.instances.read(NAME)
        claimed = self.leases.claim(NAME, epoch=epoch, tick=tick, task_id="t")
        if isinstance(claimed, Refusal):
            return
        assert before is not None
        assert before.phase is Phase.RUNNING
        assert before.epoch == epoch, "an old epoch claimed"
        assert tick is None or before.tick == tick, "an old or future tick claimed"
        assert before.lease_until_ms <= self.now_ms, "two live leases"
        self.newest_token = claimed.token
        self.woken_at_ms = None
        self.tasks.append(Task(lease=claimed))

    @precondition(lambda self: self._phase() is Phase.RUNNING)
    @rule()
    def wake_up(self) -> None:
        """Let a feed see a fill, and the message that follows come at any time."""
        self._wake()
        record = self.instances.read(NAME)
        assert record is not None
        self.messages.append((record.epoch, None))

    def _wake(self) -> None:
        answer = self.wake(NAME)
        assert (answer == "stale") == (self._phase() is not Phase.RUNNING), f"woken: {answer}"
        if answer != "stale" and self.woken_at_ms is None:
            self.woken_at_ms = self.now_ms

    def _placers(self) -> list[Task]:
        """Return the tasks that may ask for permission: one that knows of a pause does not."""
        idle = [task for task in self.tasks if task.signed_at_ms is None and task.request is None]
        return [task for task in idle if not task.lease.is_paused]

    @precondition(lambda self: self._placers())
    @rule(data=st.data())
    def authorize(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self._placers()))
        try:
            granted = self.leases.authorize(task.lease, window_ms=WINDOW_MS, orders=[(0, Role.QUOTE)])
        except AuthorizationRefused:
            self._end(task)
            return
        assert task.lease.token == self.newest_token, "a task whose lease was taken over was authorised"
        record = self.instances.read(NAME)
        assert record is not None
        assert record.lease_until_ms > self.now_ms, "a task whose lease is over was authorised"
        assert task.lease.epoch not in self.stopped_epochs, "authorised after the stop was requested"
        assert not self.is_paused, "authorised while paused"
        task.signed_at_ms = granted.at_ms
        assert self.given.isdisjoint(granted.client_order_ids), "a client order id was given twice"
        self.given.update(granted.client_order_ids)

    @precondition(lambda self: any(t.signed_at_ms is not None for t in self.tasks))
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from([t for t in self.tasks if t.signed_at_ms is not None]))
        assert task.signed_at_ms is not None
        task.request = Request(signed_at_ms=task.signed_at_ms, epoch=task.lease.epoch)
        task.signed_at_ms = None
        task.unresolved += 1
        self.flying.append(task.request)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def exchange_processes(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.flying))
        self.flying.remove(request)
        if self.now_ms <= request.signed_at_ms + WINDOW_MS:
            assert request.epoch > self.clean_epoch, "an order was accepted after its run was reported clean"
            self.book.append(request.epoch)

    @precondition(lambda self: any(t.request for t in self.tasks))
    @rule(data=st.data())
    def answer_or_time_out(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from([t for t in self.tasks if t.request]))
        if task.request not in self.flying:
            task.unresolved -= 1
        task.request = None

    @precondition(lambda self: any(t.request is None and t.signed_at_ms is None for t in self.tasks))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self._end(
            data.draw(
                st.sampled_from([t for t in self.tasks if t.request is None and t.signed_at_ms is None])
            )
        )

    def _end(self, task: Task) -> None:
        self.tasks.remove(task)
        is_quiet = None
        if task.lease.is_paused:
            # It lists, and cancels what it finds.
            is_quiet = not self.book and task.lease.fence_ms <= task.lease.claimed_at_ms
            self.book.clear()
        try:
            committed = self.leases.commit(
                task.lease,
                resolved=task.unresolved == 0,
                state_json="{}",
                interval_ms=INTERVAL_MS,
                next_task_id="t",
                is_quiet=is_quiet,
            )
        except LeaseLost:
            return
        assert task.lease.token == self.newest_token, "a task whose lease was taken over committed"
        if committed.countdown_ms is not None:
            self.messages.append((committed.epoch, committed.tick))
        if committed.wake_up:
            self.messages.append((committed.epoch, None))
            self.woken_at_ms = None

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def kill_iteration(self, data: st.DataObject) -> None:
        self.tasks.remove(data.draw(st.sampled_from(self.tasks)))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def lose_message(self, data: st.DataObject) -> None:
        self.messages.remove(data.draw(st.sampled_from(self.messages)))

    @precondition(lambda self: self.cleanups)
    @rule(data=st.data(), again=st.booleans())
    def deliver_cleanup(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.cleanups) - 1))
        epoch = self.cleanups[index] if again else self.cleanups.pop(index)
        claimed = self.cleanup_leases.claim(NAME, epoch=epoch, by="test")
        if isinstance(claimed, CleanupLease):
            self.cleaners.append(Cleaner(lease=claimed))

    @precondition(lambda self: self.cleaners)
    @rule(data=st.data())
    def clean(self, data: st.DataObject) -> None:
        self._clean(data.draw(st.sampled_from(self.cleaners)))

    @precondition(lambda self: self._phase() is Phase.STOPPING)
    @rule()
    def clean_in_one_go(self) -> None:
        """Sweep, claim, and go on to the end if nothing is in the way: the usual stop."""
        self.sweep()
        for epoch in self.cleanups:
            claimed = self.cleanup_leases.claim(NAME, epoch=epoch, by="test")
            if isinstance(claimed, CleanupLease):
                self.cleaners.append(Cleaner(lease=claimed))
        for cleaner in list(self.cleaners):
            for _ in range(3):
                if cleaner in self.cleaners:
                    self._clean(cleaner)

    @precondition(lambda self: self._placers())
    @rule(data=st.data(), lost=st.booleans())
    def place(self, data: st.DataObject, lost: bool) -> None:
        """Authorise and send in one go; then the task may die, or give up waiting for the answer."""
        self.authorize(data)
        for task in [t for t in self.tasks if t.signed_at_ms is not None]:
            assert task.signed_at_ms is not None
            self.flying.append(Request(signed_at_ms=task.signed_at_ms, epoch=task.lease.epoch))
            task.signed_at_ms = None
            task.unresolved += 1
            if lost:
                self.tasks.remove(task)
            else:
                self._end(task)

    @precondition(lambda self: self._phase() is Phase.RUNNING)
    @rule()
    def quiet_iteration(self) -> None:
        """A wake-up that claims, sends nothing and commits."""
        record = self.instances.read(NAME)
        assert record is not None
        self._wake()
        claimed = self.leases.claim(NAME, epoch=record.epoch, tick=None, task_id="t")
        if isinstance(claimed, Lease):
            self.newest_token = claimed.token
            self.woken_at_ms = None
            self.tasks.append(task := Task(lease=claimed))
            self._end(task)

    def _clean(self, cleaner: Cleaner) -> None:
        """One step: cancel and look; two empty looks after the fence are followed by `finish`."""
        try:
            in_flight = self.cleanup_leases.renew(cleaner.lease)
        except LeaseLost:
            self.cleaners.remove(cleaner)
            return
        listed = [epoch for epoch in self.book if epoch <= cleaner.lease.epoch]
        self.book = [epoch for epoch in self.book if epoch > cleaner.lease.epoch]
        if in_flight.lease_until_ms or in_flight.fence_ms > in_flight.now_ms or listed:
            cleaner.empty_lists = 0
            return
        cleaner.empty_lists += 1
        if cleaner.empty_lists < 2:
            return
        self.cleaners.remove(cleaner)
        try:
            result = self.cleanup_leases.finish(
                cleaner.lease, clean=True, outcome_json="{}", retry_after_ms=1, attempts_until_failed=3
            )
        except LeaseLost:
            return
        if result == "stopped":
            self.clean_epoch = max(self.clean_epoch, cleaner.lease.epoch)

    @precondition(lambda self: self.cleaners)
    @rule(data=st.data())
    def kill_cleanup(self, data: st.DataObject) -> None:
        self.cleaners.remove(data.draw(st.sampled_from(self.cleaners)))

    @precondition(lambda self: self.cleaners)
    @rule(data=st.data())
    def hand_over_cleanup(self, data: st.DataObject) -> None:
        """A worker that shuts down gives its cleanup back, for the next sweep to publish."""
        cleaner = data.draw(st.sampled_from(self.cleaners))
        self.cleaners.remove(cleaner)
        if self.cleanup_leases.release(cleaner.lease, receipt_json="{}"):
            before = len(self.cleanups)
            self.sweep()
            assert len(self.cleanups) > before, "a cleanup that was given back went to nobody"

    @rule(data=st.data(), down_ms=st.sampled_from([1, 300, 1_500]))
    def lose_power(self, data: st.DataObject, down_ms: int) -> None:
        """The server's machine dies and comes back with what was on its disk."""
        self.come_back_with(data.draw(st.integers(0, len(self.past) - 1)), down_ms)
        record = self.instances.read(NAME)
        self.newest_token = str(self.client.hget(keys.record(NAME), "lease_token") or "")
        self.woken_at_ms = None
        if record is not None and record.phase is Phase.RUNNING:
            # Whoever asked for the stop follows it, and asks again.
            assert record.epoch > self.clean_epoch, "a run that was called clean goes on"
            self.stopped_epochs.discard(record.epoch)
        self.is_paused = record is not None and record.is_paused

    @invariant()
    def what_is_called_clean_has_no_order(self) -> None:
        record = self.instances.read(NAME)
        if record is None or record.phase is Phase.STOPPED:
            assert not self.book, "an order is open while the instance is called stopped"
        if record is not None and record.is_paused and record.withdrawn_at_ms is not None:
            assert not self.book, "an order is open while the pause says that none is left"

    def teardown(self) -> None:
        """With all tasks dead and all messages lost, the sweep alone brings it on again, or to its end."""
        self.tasks.clear()
        self.cleaners.clear()
        phase = self._phase()
        if phase is Phase.STOPPED:
            return
        if self.is_paused and phase is Phase.RUNNING:
            self._withdraw_by_sweeps()
            return
        for _ in range(20):
            self.messages.clear()
            self.cleanups.clear()
            self.tick(5_000)
            self.sweep()
            record = self.instances.read(NAME)
            assert record is not None
            for epoch, tick in self.messages:
                if isinstance(self.leases.claim(NAME, epoch=epoch, tick=tick, task_id="t"), Lease):
                    return
            for epoch in self.cleanups:
                claimed = self.cleanup_leases.claim(NAME, epoch=epoch, by="test")
                if isinstance(claimed, CleanupLease):
                    self.tick(1)
                    with suppress(LeaseLost):
                        finished = self.cleanup_leases.finish(
                            claimed, clean=True, outcome_json="{}", retry_after_ms=1, attempts_until_failed=3
                        )
                        if finished == "stopped":
                            return
        raise AssertionError(f"nothing brings the instance on from {phase}")

    def _withdraw_by_sweeps(self) -> None:
        """With nothing but sweeps, a pause comes to where no order is left, long before the next tick."""
        for _ in range(20):
            record = self.instances.read(NAME)
            assert record is not None
            if record.withdrawn_at_ms is not None:
                return
            # The next tick is far away: only the pause itself can bring an iteration.
            self.client.hset(keys.record(NAME), "due", self.now_ms + 10**9)
            self.messages.clear()
            self.tick(5_000)
            self.sweep()
            for epoch, tick in list(self.messages):
                claimed = self.leases.claim(NAME, epoch=epoch, tick=tick, task_id="t")
                if isinstance(claimed, Lease):
                    self.newest_token = claimed.token
                    self.tasks.append(task := Task(lease=claimed))
                    self._end(task)
        raise AssertionError("a paused run is not brought to where no order is left")
