"""One iteration: claim, gather, decide, apply, commit, and say what to publish next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from exchanges.clock import StoreClockReading
from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.orders import Role
from metrics import families
from runner.access import require_account
from runner.bookings import Teller
from runner.books import Books
from runner.calm import find_nothing_to_do, known_place, look_json, remember_place
from runner.context import Context
from runner.daily import advance_daily
from runner.ending import CutShort, IsEnding, never
from runner.execution import ExecutionReport, Executor
from runner.gathering import Gathered, gather
from runner.known_orders import own_order
from runner.limiting import cut_names, limited_plan
from runner.loaded import LoadedInstance, StateDamaged, load_running, parse_books
from runner.lookups import Standing
from runner.market_read import NoMarketData, Source
from runner.publisher import Iteration
from runner.schedule import error_delay_ms, hop_s, task_id
from runner.withdrawal import is_quiet, look_again_ms, must_withdraw, withdrawal
from state.instances import StopPolicy
from state.leases import AuthorizationRefused, Committed, Granted, Lease, LeaseLost, Refusal
from state.stop_story import StopCause
from strategies.base import Decision, State, TakerOrder
from strategies.reconcile import OrderPlan

log = structlog.get_logger(__name__)

#: Pace of an instance whose configuration cannot be read; its back-off is longer anyway.
UNKNOWN_INTERVAL_MS = 1000


def unheard(_: str) -> None:
    """Say it to nobody."""


@dataclass(kw_only=True)
class _Work:
    """What an iteration has come to when it ends, however it ends."""

    #: Monotonic.
    began_s: float
    instance: LoadedInstance | None = None
    standing: Standing | None = None
    report: ExecutionReport = field(default_factory=ExecutionReport)
    state_json: str = ""
    daily_json: str = ""
    #: What was seen on the exchange, empty when nobody looked.
    look_json: str = ""
    error: str = ""
    stop_reason: str = ""
    stop_cause: StopCause = StopCause.STRATEGY
    unwind: bool = False
    is_ending: IsEnding = never
    #: True: its worker shuts down, and what is left to do is for another.
    is_cut_short: bool = False
    #: True: a stop came, or another has the lease.
    is_ended_by_gate: bool = False
    #: Where the order book came from.
    source: Source = Source.NONE
    #: Of a paused run: nothing rested, and nothing could still arrive. None: it was not looked.
    is_quiet: bool | None = None
    look_again_ms: int = 0

    def summary(self) -> str:
        """Return what was done, in a few words."""
        if self.error:
            return f"failed: {self.error[:100]}"
        counts = (("placed", self.report.accepted), ("cancelled", self.report.cancelled))
        done = [f"{len(orders)} {name}" for name, orders in counts if orders]
        return " · ".join([*done, *(["stop"] if self.stop_reason else [])]) or "nothing to do"

    def close_books(self, lease: Lease) -> Books | None:
        """Enter what was sent into the books and return them; None when there is nothing to save."""
        if self.standing is None:
            return None
        books = self.standing.books
        if self.report.accepted or self.report.cancelled or self.report.uncertain_cancels:
            books.own_changed_at_ms = self.standing.now_ms + self.standing.elapsed_ms
        for order in self.report.accepted:
            books.add(order)
        for order_id, executed in self.report.executed_when_cancelled.items():
            books.end(order_id, executed)
        # Those without an answer count when they are found.
        answered = len(self.report.accepted) + len(self.report.refused)
        books.placed_at_ms += (lease.claimed_at_ms,) * answered
        if self.state_json:
            books.forget_unseen()
        books.close_what_is_over(lease.claimed_at_ms)
        self.standing.intents |= self.report.unresolved
        return books


def run_iteration(
    context: Context,
    instance_id: str,
    *,
    epoch: int,
    tick: int | None,
    own_task_id: str,
    is_ending: IsEnding = never,
    say: Callable[[str], None] = unheard,
) -> tuple[Iteration, ...]:
    """Run one iteration if it may run, and return the messages to publish afterwards.

    A message that is late, doubled or of an old run claims nothing and changes nothing. Once `is_ending`
    nothing is begun or authorised any more: the request that is open gets its answer, what is known is
    committed, and another iteration follows at once. `say` gets what came of it in a few words.
    """
    if is_ending():
        account = context.instances.account_of(instance_id)
        return (
            Iteration(instance_id=instance_id, account=account, epoch=epoch, tick=tick, task_id=own_task_id),
        )
    asked_at_s = time.monotonic()
    lease = context.leases.claim(
        instance_id, epoch=epoch, tick=tick, task_id=own_task_id, place=known_place(instance_id)
    )
    if isinstance(lease, Refusal):
        say(f"not run: {lease.detail or lease.reason}")
        return _refused(context, instance_id, epoch, tick, lease)
    reading = StoreClockReading(store_ms=lease.claimed_at_ms, monotonic_s=asked_at_s)
    work = _Work(began_s=asked_at_s, is_ending=is_ending)
    try:
        work.instance = load_running(context, lease.instance_id, lease.config_version, epoch=lease.epoch)
        _work(context, lease, work.instance, reading, work)
    except (AuthorizationRefused, LeaseLost) as ended:
        work.is_ended_by_gate = True
        log.info(
            "iteration ended by the gate", instance=instance_id, epoch=epoch, seq=lease.seq, why=str(ended)
        )
    except CutShort:
        work.is_cut_short = True
    except Exception as error:
        work.error = f"{type(error).__name__}: {error}"
        if isinstance(error, StateDamaged):
            context.instances.fail(instance_id, why=str(error), epoch=epoch)
        log.error(
            "iteration failed",
            instance=instance_id,
            epoch=epoch,
            seq=lease.seq,
            error=work.error,
            exc_info=not isinstance(error, ExchangeError),
        )
    say(f"seq {lease.seq} · {work.summary()}")
    return _end(context, lease, work, tick)


def _work(
    context: Context, lease: Lease, instance: LoadedInstance, reading: StoreClockReading, work: _Work
) -> None:
    if instance.duration_ms and lease.claimed_at_ms - lease.started_at_ms >= instance.duration_ms:
        work.stop_reason, work.stop_cause = "duration is over", StopCause.DURATION
        return
    require_account(instance.config, context.settings, lease.account)
    remember_place(lease, instance.config)
    venue = context.venues.of(instance.config)
    state = instance.parse_state(lease.state_json)
    standing = Standing(
        slot=lease.slot,
        books=parse_books(lease.books_json),
        intents=dict(lease.intents),
        now_ms=lease.claimed_at_ms,
        started_at_ms=lease.started_at_ms,
        fence_ms=lease.fence_ms,
        reading=reading,
    )
    # Also kept when gathering fails half-way: what was learned by then is true.
    work.standing = standing
    nothing = find_nothing_to_do(context, lease, instance, venue, standing, state)
    if nothing is not None:
        work.source = Source.STREAM
        work.state_json, work.daily_json = nothing.state_json, nothing.daily_json
        return
    executor = _executor(context, lease, instance, venue, reading, work)
    try:
        gathered = gather(
            context,
            instance,
            venue,
            standing,
            with_balances=instance.limits.min_balance is not None,
            needs_book=not lease.is_paused,
        )
    except ExchangeError as error:
        if not lease.is_paused and not must_withdraw(lease, instance, standing, error):
            raise
        executor.carry_out(withdrawal(instance, standing), None)
        if not isinstance(error, NoMarketData):
            raise  # counted as ever: keys that are refused must lead to a stop, not to silence
        return
    if work.is_ending():
        raise CutShort
    _decide_and_send(context, lease, instance, gathered, state, executor, work)


def _decide_and_send(
    context: Context,
    lease: Lease,
    instance: LoadedInstance,
    gathered: Gathered,
    state: State,
    executor: Executor,
    work: _Work,
) -> None:
    standing = work.standing
    assert standing is not None
    work.source, work.look_json = gathered.source, look_json(standing, gathered.held)
    work.daily_json, work.stop_reason = advance_daily(lease, instance.limits, gathered.snapshot)
    if work.stop_reason:
        work.stop_cause = StopCause.LOSS
        return
    if lease.is_paused:
        _withdraw(lease, instance, gathered, executor, work)
        return
    decision: Decision[State] = instance.strategy.decide(gathered.snapshot, state, instance.params)
    if decision.stop_reason:
        work.stop_reason, work.unwind = decision.stop_reason, decision.unwind
        work.stop_cause = StopCause.LOSS if decision.is_loss else StopCause.STRATEGY
        work.state_json = decision.state.model_dump_json()
        return
    plan, taker = _plan(context, lease, instance, gathered, decision, standing)
    if _must_wait(lease, gathered, standing):
        executor.carry_out(replace(plan, places=()), None)
        work.error = _strangers_stay(gathered)
        return
    # Kept also when carrying out is interrupted: what it had sent by then was decided with this state.
    work.state_json = decision.state.model_dump_json()
    executor.carry_out(plan, taker)


def _withdraw(
    lease: Lease, instance: LoadedInstance, gathered: Gathered, executor: Executor, work: _Work
) -> None:
    """Take back what rests, and note whether there was any. The strategy is not asked, its state stays."""
    assert work.standing is not None
    plan = withdrawal(instance, work.standing, gathered)
    executor.carry_out(plan, None)
    work.is_quiet = is_quiet(lease, work.standing, plan)
    work.look_again_ms = look_again_ms(work.report, work.standing, plan)
    work.error = _strangers_stay(gathered)


def _strangers_stay(gathered: Gathered) -> str:
    if not gathered.strangers_stay:
        return ""
    ids = ", ".join(order.order_id for order in gathered.strangers)
    return f"orders of an earlier run cannot be cancelled, so nothing is placed: {ids}"


def _plan(
    context: Context,
    lease: Lease,
    instance: LoadedInstance,
    gathered: Gathered,
    decision: Decision[State],
    standing: Standing,
) -> tuple[OrderPlan, TakerOrder | None]:
    """Return what to send: the decision within the limits, against what rests."""
    limited = limited_plan(instance, gathered.snapshot, decision, standing.books.placed_at_ms)
    names = cut_names(limited.cuts)
    if names != standing.books.cuts:
        standing.books.cuts = names
        context.events.limits_changed(
            lease.instance_id,
            epoch=lease.epoch,
            at_ms=lease.claimed_at_ms,
            cuts=[cut.sentence() for cut in limited.cuts],
        )
    strangers = tuple(own_order(order) for order in gathered.strangers)
    return replace(limited.plan, cancels=(*strangers, *limited.plan.cancels)), limited.taker


def _must_wait(lease: Lease, gathered: Gathered, standing: Standing) -> bool:
    """Tell whether nothing may be placed now, whatever was decided."""
    why = ""
    if lease.fence_ms > lease.claimed_at_ms or standing.unasked:
        # A placement without an answer may still arrive: a new one beside it could double the exposure.
        why = "an earlier placement is unresolved"
    elif gathered.strangers:
        why = "orders of an earlier run rest"
    if why:
        log.info("nothing placed", instance=lease.instance_id, epoch=lease.epoch, seq=lease.seq, why=why)
    return bool(why)


def _executor(
    context: Context,
    lease: Lease,
    instance: LoadedInstance,
    venue: Venue,
    reading: StoreClockReading,
    work: _Work,
) -> Executor:
    def authorize(orders: Sequence[tuple[int, Role]]) -> Granted:
        if work.is_ending():
            raise CutShort
        return context.leases.authorize(lease, window_ms=instance.window_ms, orders=orders)

    return Executor(
        venue,
        symbol=instance.config.metadata.symbol,
        window_ms=instance.window_ms,
        authorize=authorize,
        signing_time_ms=lambda authorised_at_ms: venue.clock.signing_time_ms(authorised_at_ms, reading),
        report=work.report,
    )


def _end(context: Context, lease: Lease, work: _Work, tick: int | None) -> tuple[Iteration, ...]:
    report, books, standing = work.report, work.close_books(lease), work.standing
    if work.error and lease.errors + 1 >= _most_errors(context, work.instance):
        work.stop_reason = f"{lease.errors + 1} iterations failed in a row, the last with {work.error}"
        work.stop_cause = StopCause.ERRORS
    if work.is_cut_short:
        # While the lease is held: the commit answers with a wake-up to publish.
        context.own_fills.wake(lease.instance_id)
    try:
        committed = context.leases.commit(
            lease,
            resolved=not report.unresolved,
            state_json=work.state_json,
            interval_ms=work.instance.interval_ms if work.instance else UNKNOWN_INTERVAL_MS,
            next_task_id=task_id(lease.instance_id, lease.epoch, lease.tick + 1),
            error=work.error[:500],
            error_delay_ms=error_delay_ms(lease.errors + 1) if work.error else 0,
            order_ids=None if books is None else [o.order_id for o in books.orders.values() if not o.ended],
            books_json="" if books is None else books.model_dump_json(),
            daily_json=work.daily_json,
            intents=None if standing is None else standing.intents,
            stop_reason=work.stop_reason,
            stop_cause=work.stop_cause if work.stop_reason else "",
            stop_policy=_stop_policy(work),
            bookings=_bookings(lease, standing),
            is_quiet=work.is_quiet,
            look_again_ms=work.look_again_ms,
            look_json=work.look_json,
        )
    except LeaseLost:
        _count(lease, work, tick, is_lost=True)
        log.warning("lease was taken over", instance=lease.instance_id, epoch=lease.epoch, seq=lease.seq)
        return ()
    _count(lease, work, tick)
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
        unresolved=len(report.unresolved),
        book=str(work.source),
        failed=bool(work.error),
        cut_short=work.is_cut_short,
        paused=lease.is_paused,
    )
    return _next(context, lease, committed) if committed.running else ()


def _count(lease: Lease, work: _Work, tick: int | None, *, is_lost: bool = False) -> None:
    outcomes = (
        ("lost", is_lost),
        ("cut_short", work.is_cut_short),
        ("gate", work.is_ended_by_gate),
        ("failed", bool(work.error)),
    )
    outcome = next((name for name, is_so in outcomes if is_so), "done")
    families.ITERATIONS.add("wake_up" if tick is None else "tick", outcome)
    families.ITERATION_S.observe(time.monotonic() - work.began_s)
    if tick is not None:
        families.LATENESS_S.observe(max(0, lease.claimed_at_ms - lease.due_at_ms) / 1000)


def _bookings(lease: Lease, standing: Standing | None) -> Sequence[str]:
    if standing is None:
        return ()
    teller = Teller(
        account=lease.account,
        instance_id=lease.instance_id,
        epoch=lease.epoch,
        slot=lease.slot,
        source="iteration",
        at_ms=lease.claimed_at_ms,
    )
    return teller.tell(standing.books, standing.instrument)


def _stop_policy(work: _Work) -> StopPolicy:
    """Return what a stop that this iteration decides does with orders and position."""
    policy = work.instance.stop_policy if work.instance else StopPolicy()
    # What is unwound must not be opened again by an order that was kept.
    return replace(policy, unwind=True, cancel_orders=True) if work.unwind else policy


def _most_errors(context: Context, instance: LoadedInstance | None) -> int:
    own = instance.limits.max_consecutive_errors if instance else None
    return context.settings.max_consecutive_errors if own is None else own


def _next(context: Context, lease: Lease, committed: Committed) -> tuple[Iteration, ...]:
    messages = []
    if committed.countdown_ms is not None:
        messages.append(
            Iteration(
                instance_id=lease.instance_id,
                account=lease.account,
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
                account=lease.account,
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
        families.CLAIMS_REFUSED.add("iterate", refusal.detail or refusal.reason)
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
            account=context.instances.account_of(instance_id),
            epoch=epoch,
            tick=tick,
            task_id=task_id(instance_id, epoch, tick),
            countdown_s=hop_s(refusal.wait_ms / 1000, context.settings.visibility_timeout_s),
        ),
    )
