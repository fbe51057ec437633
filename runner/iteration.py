"""One iteration: claim, gather, decide, apply, commit, and say what to publish next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from exchanges.clock import StoreClockReading
from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.instrument import MarketType
from market.orders import Role
from market.snapshot import OwnOrder, Snapshot
from runner.access import require_account
from runner.context import Context
from runner.execution import ExecutionReport, Executor
from runner.loaded import LoadedInstance, load_running
from runner.publisher import Iteration
from runner.schedule import error_delay_ms, hop_s, task_id
from state.client_ids import decode, owns
from state.instances import StopPolicy
from state.leases import AuthorizationRefused, Committed, Granted, Lease, LeaseLost, Refusal
from strategies.base import Decision, State
from strategies.reconcile import reconcile

log = structlog.get_logger(__name__)

#: Pace of an instance whose configuration cannot be read; its back-off is longer anyway.
UNKNOWN_INTERVAL_MS = 1000
#: For this long an accepted order may be missing from the exchange's list and rest all the same.
LONGEST_LIST_LAG_MS = 10_000


@dataclass(kw_only=True)
class _Work:
    """What an iteration has come to when it ends, however it ends."""

    instance: LoadedInstance | None = None
    snapshot: Snapshot | None = None
    executor: Executor | None = None
    state_json: str = ""
    error: str = ""
    stop_reason: str = ""

    @property
    def report(self) -> ExecutionReport:
        return self.executor.report if self.executor else ExecutionReport()

    def unlisted(self, lease: Lease) -> dict[str, int]:
        """Return the own orders that were accepted lately and that no list has shown, with when, ms."""
        listed = {own.order.order_id for own in self.snapshot.open_orders} if self.snapshot else set()
        oldest_ms = lease.claimed_at_ms - LONGEST_LIST_LAG_MS
        earlier = {
            order_id: at_ms
            for order_id, at_ms in lease.unlisted.items()
            if order_id not in listed and at_ms >= oldest_ms
        }
        new = {o.order_id: lease.claimed_at_ms for o in self.report.accepted if o.status.is_open}
        return earlier | new

    def open_order_ids(self, lease: Lease) -> list[str] | None:
        """Return own orders that may be open, for a cleanup whose list lags; None when nothing was read."""
        if self.snapshot is None:
            return None
        gone = set(self.report.cancelled)
        listed = (own.order.order_id for own in self.snapshot.open_orders)
        return [*(order_id for order_id in listed if order_id not in gone), *self.unlisted(lease)]


def run_iteration(
    context: Context, instance_id: str, *, epoch: int, tick: int | None, own_task_id: str
) -> tuple[Iteration, ...]:
    """Run one iteration if it may run, and return the messages to publish afterwards.

    A message that is late, doubled or of an old run claims nothing and changes nothing.
    """
    asked_at_s = time.monotonic()
    lease = context.leases.claim(instance_id, epoch=epoch, tick=tick, task_id=own_task_id)
    if isinstance(lease, Refusal):
        return _refused(context, instance_id, epoch, tick, lease)
    reading = StoreClockReading(store_ms=lease.claimed_at_ms, monotonic_s=asked_at_s)
    work = _Work()
    try:
        work.instance = load_running(context, lease.instance_id, lease.config_version)
        _work(context, lease, work.instance, reading, work)
    except (AuthorizationRefused, LeaseLost) as ended:
        log.info(
            "iteration ended by the gate", instance=instance_id, epoch=epoch, seq=lease.seq, why=str(ended)
        )
    except Exception as error:
        work.error = f"{type(error).__name__}: {error}"
        log.error(
            "iteration failed",
            instance=instance_id,
            epoch=epoch,
            seq=lease.seq,
            error=work.error,
            exc_info=not isinstance(error, ExchangeError),
        )
    return _end(context, lease, work)


def _work(
    context: Context, lease: Lease, instance: LoadedInstance, reading: StoreClockReading, work: _Work
) -> None:
    if instance.duration_ms and lease.claimed_at_ms - lease.started_at_ms >= instance.duration_ms:
        work.stop_reason = "duration is over"
        return
    require_account(instance.config, context.settings, lease.account)
    venue = context.venues.of(instance.config)
    state = instance.parse_state(lease.state_json)
    work.snapshot = snapshot = gather(context, lease, instance, venue)
    decision: Decision[State] = instance.strategy.decide(snapshot, state, instance.params)
    work.stop_reason = decision.stop_reason or ""
    if work.stop_reason:
        work.state_json = decision.state.model_dump_json()
        return
    plan = reconcile(
        decision.quotes,
        snapshot.open_orders,
        tolerance_bps=instance.refresh_tolerance_bps,
        instrument=snapshot.instrument,
    )

    def authorize(orders: Sequence[tuple[int, Role]]) -> Granted:
        return context.leases.authorize(lease, window_ms=instance.window_ms, orders=orders)

    work.executor = Executor(
        venue,
        symbol=instance.config.metadata.symbol,
        window_ms=instance.window_ms,
        authorize=authorize,
        signing_time_ms=lambda authorised_at_ms: venue.clock.signing_time_ms(authorised_at_ms, reading),
    )
    if lease.fence_ms > lease.claimed_at_ms:
        # A placement without an answer may still arrive: a new one beside it could double the exposure.
        log.info("nothing placed while an earlier placement is unresolved", instance=lease.instance_id)
        work.executor.carry_out(replace(plan, places=()), None)
        return
    # Kept also when carrying out is interrupted: what it had sent by then was decided with this state.
    work.state_json = decision.state.model_dump_json()
    work.executor.carry_out(plan, decision.taker)


def gather(context: Context, lease: Lease, instance: LoadedInstance, venue: Venue) -> Snapshot:
    """Read everything one decision may know. Raises `ExchangeError` when anything is unknown."""
    symbol = instance.config.metadata.symbol
    instrument = context.venues.instrument(instance.config)
    orders = venue.open_orders(symbol)
    is_perp = instrument.market_type is MarketType.PERP
    return Snapshot(
        taken_at_ms=lease.claimed_at_ms,
        started_at_ms=lease.started_at_ms,
        instrument=instrument,
        book=venue.order_book(symbol),
        open_orders=tuple(
            OwnOrder(order=order, level=parts.level, role=parts.role, generation=parts.generation)
            for order in orders
            if order.client_order_id is not None and owns(lease.slot, order.client_order_id)
            for parts in [decode(order.client_order_id)]
        ),
        balances={} if is_perp else venue.balances(),
        position=venue.position(symbol) if is_perp else None,
    )


def _end(context: Context, lease: Lease, work: _Work) -> tuple[Iteration, ...]:
    report = work.report
    if work.error and lease.errors + 1 >= context.settings.max_consecutive_errors:
        work.stop_reason = f"{lease.errors + 1} iterations failed in a row, the last with {work.error}"
    try:
        committed = context.leases.commit(
            lease,
            resolved=report.unresolved == 0,
            state_json=work.state_json,
            interval_ms=work.instance.interval_ms if work.instance else UNKNOWN_INTERVAL_MS,
            next_task_id=task_id(lease.instance_id, lease.epoch, lease.tick + 1),
            error=work.error[:500],
            error_delay_ms=error_delay_ms(lease.errors + 1) if work.error else 0,
            order_ids=work.open_order_ids(lease),
            unlisted=work.unlisted(lease),
        )
    except LeaseLost:
        log.warning("lease was taken over", instance=lease.instance_id, epoch=lease.epoch, seq=lease.seq)
        return ()
    log.info(
        "iteration",
        instance=lease.instance_id,
        epoch=lease.epoch,
        seq=lease.seq,
        tick=lease.tick,
        late_ms=lease.claimed_at_ms - lease.due_at_ms,
        cancelled=len(report.cancelled),
        placed=len(report.accepted),
        refused=len(report.refused),
        unresolved=report.unresolved,
        failed=bool(work.error),
    )
    if work.stop_reason:
        # After the commit: a task whose lease was taken over has no say in the run any more.
        context.instances.request_stop(
            lease.instance_id,
            by="strategy",
            reason=work.stop_reason,
            policy=work.instance.stop_policy if work.instance else StopPolicy(),
            epoch=lease.epoch,
        )
        return ()
    return _next(context, lease, committed)


def _next(context: Context, lease: Lease, committed: Committed) -> tuple[Iteration, ...]:
    messages = []
    if committed.countdown_ms is not None:
        messages.append(
            Iteration(
                instance_id=lease.instance_id,
                epoch=committed.epoch,
                tick=committed.tick,
                task_id=committed.task_id,
                countdown_s=hop_s(committed.countdown_ms / 1000, context.settings.visibility_timeout_s),
            )
        )
    if committed.wake_up:
        messages.append(
            Iteration(
                instance_id=lease.instance_id,
                epoch=committed.epoch,
                tick=None,
                task_id=task_id(lease.instance_id, lease.epoch, None),
            )
        )
    return tuple(messages)


def _refused(
    context: Context, instance_id: str, epoch: int, tick: int | None, refusal: Refusal
) -> tuple[Iteration, ...]:
    if refusal.reason != "early":
        log.info(
            "claim refused",
            instance=instance_id,
            epoch=epoch,
            tick=tick,
            why=refusal.reason,
            detail=refusal.detail,
        )
        return ()
    return (
        Iteration(
            instance_id=instance_id,
            epoch=epoch,
            tick=tick,
            task_id=task_id(instance_id, epoch, tick),
            countdown_s=hop_s(refusal.wait_ms / 1000, context.settings.visibility_timeout_s),
        ),
    )
