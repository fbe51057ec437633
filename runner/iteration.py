"""One iteration: claim, look, decide, authorize, place, commit, and say what to publish next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from exchanges.clock import StoreClockReading
from exchanges.errors import ExchangeError
from market.orders import Role
from metrics import families
from runner.access import require_account
from runner.calm import find_nothing_to_do, known_place, look_json, remember_place
from runner.committing import Outcome, commit
from runner.context import Context
from runner.daily import advance_daily
from runner.ending import CutShort, IsEnding, never
from runner.execution import Executor
from runner.gathering import Gathered, gather
from runner.known_orders import own_order
from runner.limiting import cut_facts, cut_names, limited_plan
from runner.loaded import LoadedInstance, StateDamaged, load_running, parse_books
from runner.lookups import Standing
from runner.market_read import NoMarketData, Source
from runner.publisher import Iteration
from runner.schedule import following, hop_s, task_id
from runner.withdrawal import is_quiet, look_again_ms, must_withdraw, withdrawal
from state.leases import LeaseLost, Refusal
from state.permissions import AuthorizationRefused, Granted
from state.queues import ITERATE
from state.stop_story import StopCause
from strategies.base import Decision, State, TakerOrder
from strategies.reconcile import OrderPlan

log = structlog.get_logger(__name__)


def unheard(_: str) -> None:
    """Say it to nobody."""


def run_iteration(
    context: Context,
    instance_id: str,
    *,
    epoch: int,
    tick: int | None,
    own_task_id: str,
    queue: str = ITERATE,
    is_ending: IsEnding = never,
    say: Callable[[str], None] = unheard,
) -> tuple[Iteration, ...]:
    """Run one iteration if it may run, and return the messages to publish afterwards.

    A message that is late, doubled or of an old run claims nothing and changes nothing. It came through
    `queue`. Once `is_ending` nothing is begun or authorised any more: the request that is open gets its
    answer, what is known is committed, and another iteration follows at once. `say` gets what came of it in
    a few words.
    """
    if is_ending():
        account = context.instances.account_of(instance_id)
        return (
            Iteration(instance_id=instance_id, account=account, epoch=epoch, tick=tick, task_id=own_task_id),
        )
    asked_at_s = time.monotonic()
    lease = context.leases.claim(
        instance_id,
        epoch=epoch,
        tick=tick,
        task_id=own_task_id,
        place=known_place(instance_id),
        queue=queue,
    )
    if isinstance(lease, Refusal):
        say(f"not run: {lease.detail or lease.reason}")
        return _refused(context, instance_id, epoch, tick, lease)
    outcome = Outcome(lease=lease, began_s=asked_at_s)
    _work(context, outcome, is_ending)
    say(f"seq {lease.seq} · {outcome.summary()}")
    committed = commit(context, outcome)
    outcome.count(tick, is_lost=committed is None)
    if committed is None:
        return ()
    return following(lease, committed, visibility_timeout_s=context.settings.visibility_timeout_s)


def _refused(
    context: Context, instance_id: str, epoch: int, tick: int | None, refusal: Refusal
) -> tuple[Iteration, ...]:
    """Return the next hop of a message that came early; any other is over."""
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


def _work(context: Context, outcome: Outcome, is_ending: IsEnding) -> None:
    """Do what the run has to do now; whatever goes wrong is left in `outcome`, for the commit."""
    lease = outcome.lease
    which = {"instance": lease.instance_id, "epoch": lease.epoch, "seq": lease.seq}
    try:
        instance = load_running(context, lease.instance_id, lease.config_version, epoch=lease.epoch)
        outcome.instance = instance
        if instance.duration_ms and lease.claimed_at_ms - lease.started_at_ms >= instance.duration_ms:
            outcome.end_run("duration is over", StopCause.DURATION)
            return
        require_account(instance.config, context.settings, lease.account)
        remember_place(lease, instance.config)
        _Holder(context, instance, outcome, is_ending).run()
    except (AuthorizationRefused, LeaseLost) as ended:
        outcome.is_ended_by_gate = True
        log.info("iteration ended by the gate", **which, why=str(ended))
    except CutShort:
        outcome.is_cut_short = True
    except Exception as error:
        outcome.error = f"{type(error).__name__}: {error}"
        if isinstance(error, StateDamaged):
            context.instances.fail(lease.instance_id, why=str(error), epoch=lease.epoch)
        unforeseen = not isinstance(error, ExchangeError)
        log.error("iteration failed", **which, error=outcome.error, exc_info=unforeseen)


class _Holder:
    """Who holds the lease: it looks, decides, is authorised, and places."""

    def __init__(
        self, context: Context, instance: LoadedInstance, outcome: Outcome, is_ending: IsEnding
    ) -> None:
        lease = outcome.lease
        self._context = context
        self._lease = lease
        self._instance = instance
        self._outcome = outcome
        self._is_ending = is_ending
        self._venue = venue = context.venues.of(instance.config)
        self._state = instance.parse_state(lease.state_json)
        reading = StoreClockReading(store_ms=lease.claimed_at_ms, monotonic_s=outcome.began_s)
        self._standing = Standing(
            slot=lease.slot,
            books=parse_books(lease.books_json),
            intents=dict(lease.intents),
            now_ms=lease.claimed_at_ms,
            started_at_ms=lease.started_at_ms,
            fence_ms=lease.fence_ms,
            reading=reading,
        )
        # Also kept when looking fails half-way: what was learned by then is true.
        outcome.standing = self._standing
        self._executor = Executor(
            venue,
            symbol=instance.config.metadata.symbol,
            window_ms=instance.window_ms,
            authorize=self._authorize,
            signing_time_ms=lambda authorised_at_ms: venue.clock.signing_time_ms(authorised_at_ms, reading),
            report=outcome.report,
        )

    def run(self) -> None:
        """Look, decide, and place what was decided."""
        if self._has_nothing_to_do():
            return
        gathered = self._look()
        if gathered is None or self._has_lost_too_much(gathered):
            return
        if self._lease.is_paused:
            self._withdraw(gathered)
            return
        decision = self._decide(gathered)
        if decision is not None:
            self._place(gathered, decision)

    def _has_nothing_to_do(self) -> bool:
        """Tell whether that is known without asking the exchange."""
        nothing = find_nothing_to_do(
            self._context, self._lease, self._instance, self._venue, self._standing, self._state
        )
        if nothing is None:
            return False
        self._outcome.source = Source.STREAM
        self._outcome.state_json, self._outcome.daily_json = nothing.state_json, nothing.daily_json
        return True

    def _look(self) -> Gathered | None:
        """Return what is there now; None where the market is unknown and orders were withdrawn."""
        lease, instance, outcome = self._lease, self._instance, self._outcome
        try:
            gathered = gather(
                self._context,
                instance,
                self._venue,
                self._standing,
                with_balances=instance.limits.min_balance is not None,
                needs_book=not lease.is_paused,
            )
        except ExchangeError as error:
            if not lease.is_paused and not must_withdraw(lease, instance, self._standing, error):
                raise
            self._executor.carry_out(withdrawal(instance, self._standing), None)
            if not isinstance(error, NoMarketData):
                raise  # counted as ever: keys that are refused must lead to a stop, not to silence
            return None
        if self._is_ending():
            raise CutShort
        outcome.source, outcome.look_json = gathered.source, look_json(self._standing, gathered.held)
        return gathered

    def _has_lost_too_much(self, gathered: Gathered) -> bool:
        """Bring the day's result up to date; tell whether it ends the run."""
        self._outcome.daily_json, reason = advance_daily(
            self._lease, self._instance.limits, gathered.snapshot
        )
        if reason:
            self._outcome.end_run(reason, StopCause.LOSS)
        return bool(reason)

    def _withdraw(self, gathered: Gathered) -> None:
        """Take back what rests, and note whether there was any; the strategy's state stays."""
        outcome, standing = self._outcome, self._standing
        plan = withdrawal(self._instance, standing, gathered)
        self._executor.carry_out(plan, None)
        outcome.is_quiet = is_quiet(self._lease, standing, plan)
        outcome.look_again_ms = look_again_ms(outcome.report, standing, plan)
        outcome.error = gathered.complaint

    def _decide(self, gathered: Gathered) -> Decision[State] | None:
        """Return what the strategy wants; None where it ends the run."""
        instance, outcome = self._instance, self._outcome
        decision: Decision[State] = instance.strategy.decide(gathered.snapshot, self._state, instance.params)
        if not decision.stop_reason:
            return decision
        cause = StopCause.LOSS if decision.is_loss else StopCause.STRATEGY
        outcome.end_run(decision.stop_reason, cause, unwind=decision.unwind)
        outcome.state_json = decision.state.model_dump_json()
        return None

    def _plan(self, gathered: Gathered, decision: Decision[State]) -> tuple[OrderPlan, TakerOrder | None]:
        """Return what to send: the decision within the limits, against what rests."""
        lease, books = self._lease, self._standing.books
        limited = limited_plan(self._instance, gathered.snapshot, decision, books.placed_at_ms)
        names = cut_names(limited.cuts)
        if names != books.cuts:
            books.cuts = names
            self._context.events.limits_changed(
                lease.instance_id,
                epoch=lease.epoch,
                at_ms=lease.claimed_at_ms,
                cuts=[cut.sentence() for cut in limited.cuts],
                facts=[cut_facts(cut) for cut in limited.cuts],
            )
        strangers = tuple(own_order(order) for order in gathered.strangers)
        return replace(limited.plan, cancels=(*strangers, *limited.plan.cancels)), limited.taker

    def _must_wait(self, gathered: Gathered) -> bool:
        """Tell whether nothing may be placed now, whatever was decided."""
        lease, why = self._lease, ""
        if lease.fence_ms > lease.claimed_at_ms or self._standing.unasked:
            # A placement without an answer may still arrive: a new one beside it could double the exposure.
            why = "an earlier placement is unresolved"
        elif gathered.strangers:
            why = "orders of an earlier run rest"
        if why:
            log.info("nothing placed", instance=lease.instance_id, epoch=lease.epoch, seq=lease.seq, why=why)
        return bool(why)

    def _place(self, gathered: Gathered, decision: Decision[State]) -> None:
        """Send what the decision comes to, or only its cancels while nothing may be placed."""
        plan, taker = self._plan(gathered, decision)
        if self._must_wait(gathered):
            self._executor.carry_out(replace(plan, places=()), None)
            self._outcome.error = gathered.complaint
            return
        # Kept also when carrying out is interrupted: what it had sent by then was decided with this state.
        self._outcome.state_json = decision.state.model_dump_json()
        self._executor.carry_out(plan, taker)

    def _authorize(self, orders: Sequence[tuple[int, Role]]) -> Granted:
        """Ask, for the executor, whether `orders` may be placed now."""
        if self._is_ending():
            raise CutShort
        return self._context.leases.authorize(self._lease, window_ms=self._instance.window_ms, orders=orders)
