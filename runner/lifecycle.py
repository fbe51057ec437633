"""Start an instance: everything that can be wrong is found before anything is changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from market.orders import OpenOrder
from runner.access import access
from runner.config import InstanceConfig, load_instance, version_of
from runner.context import Context
from runner.loaded import LoadedInstance, from_config
from runner.looks import Looks
from runner.lost_state import Last, Loss, last_run, look_before_start, told_order_ids
from runner.neighbours import shared_hedge
from runner.place import own_slot, reach_ms, takeover_ms
from runner.preflight import first_snapshot
from state.durability import Keeps
from state.instances import Failed, StartResult
from state.record import Phase, Record, RecordUnreadable
from state.server import require_safe
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from wording import joined, said


class StartRefused(Exception):
    """Raised when an instance must not be started; nothing has changed."""


class StateLost(StartRefused):
    """Raised when an earlier run has left traces that the state server knows nothing of.

    The instance is taken for failed and cleaned up; it can be started when that has ended.
    """


@dataclass(frozen=True, kw_only=True)
class Started:
    """What `start_instance` did, and what the user should know."""

    result: StartResult
    warnings: tuple[str, ...]


def start_instance(
    context: Context,
    instance_id: str,
    *,
    by: str,
    accept: AcceptedLeft | None = None,
    restart: str = "",
    looks: Looks | None = None,
) -> Started:
    """Begin a run of `instance_id`, or say what stands in the way.

    With `accept` also after a run that failed to become clean, as long as it has left just that. With
    `restart` only if no stop was asked for since the one that left this mark. What `looks` remembers of other
    starts is not asked again.

    Raises `ConfigError` (bad or missing configuration, keys that are not set), `StateUnavailable`,
    `UnsafeServer`, `ExchangeError` (the exchange does not answer or refuses the keys) and
    `StartRefused`; in every case but that of `StateLost` nothing has changed.
    """
    if looks is None:
        with Looks(context.settings) as own_looks:
            return start_instance(
                context, instance_id, by=by, accept=accept, restart=restart, looks=own_looks
            )
    settings = context.settings
    found = load_instance(instance_id, settings.config_dir, settings.environ)
    live, vouched = found.config.live, settings.state_durability
    report = looks.once(("server", live), lambda: require_safe(context.client, live=live, vouched=vouched))
    warnings = list(found.warnings)
    if report.keeps is Keeps.UNSURE:
        warnings.append(
            said(
                "a crash of the state server could take back this start, or a stop that was called clean: "
                "{why_unsure}; {advice_if_unsure}",
                why_unsure=report.why_unsure,
                advice_if_unsure=report.advice_if_unsure,
            )
        )
    record = _read_or_fail(context, instance_id)
    if record is not None and record.phase is not Phase.STOPPED and accept is None:
        return Started(
            result=StartResult(result=str(record.phase), epoch=record.epoch), warnings=tuple(warnings)
        )
    loaded = runnable(found.config)
    _require_short_enough(loaded, settings.longest_window_ms)
    account = access(loaded.config, settings).account
    if record is not None:
        _require_same_place(context, record, loaded, account)
    listed, more_warnings = _preflight(context, loaded, looks)
    warnings += (*more_warnings, *shared_hedge(context, loaded, account))
    slot = own_slot(context, account, instance_id, looks)
    reach_ms = loaded.window_ms + settings.fence_margin_ms + takeover_ms(context, report)
    least_epoch = 0
    if record is None or record.phase is Phase.STOPPED:
        last = Last(instance_id=instance_id, record=record, slot=slot)
        before = look_before_start(looks.last_runs, context.venues.of(loaded.config), listed, last)
        if before.loss is not None:
            return _state_lost(context, loaded, before.loss, last, reach_ms)
        least_epoch = before.epoch
        warnings += [before.warning] if before.warning else []
    result = context.instances.start(
        instance_id,
        config_version=version_of(loaded.config),
        config_json=loaded.config.to_json(),
        slot=slot,
        account=account,
        by=by,
        accept=accept,
        keeps=report.keeps,
        reach_ms=reach_ms,
        least_epoch=least_epoch,
        restart=restart,
    )
    return Started(result=result, warnings=tuple(warnings))


def _read_or_fail(context: Context, instance_id: str) -> Record | None:
    """Return the record; one that is damaged is taken for failed first."""
    try:
        return context.instances.read(instance_id)
    except RecordUnreadable:
        context.instances.fail(instance_id, reach_ms=reach_ms(context, instance_id))
        return context.instances.read(instance_id)


def fail_unknown(context: Context, instance_id: str) -> Failed | None:
    """Take an instance for failed that the state server knows nothing of, so that it can be cleaned up.

    None: it knows something by now. Raises `ConfigError`, and `LedgerError` where the ledger cannot say which
    run was the last.
    """
    settings = context.settings
    loaded = runnable(load_instance(instance_id, settings.config_dir, settings.environ).config)
    run = last_run(settings, instance_id)
    return context.instances.fail(
        instance_id,
        least_epoch=(run.epoch if run else 0) + 1,
        policy=replace(loaded.stop_policy, cancel_orders=True),
        reach_ms=loaded.window_ms + settings.fence_margin_ms + takeover_ms(context),
    )


def _state_lost(context: Context, loaded: LoadedInstance, loss: Loss, last: Last, reach_ms: int) -> Started:
    """Raise `StateLost`, or return that somebody else has started the instance meanwhile."""
    instance_id = loaded.config.instance_id
    failed = context.instances.fail(
        instance_id,
        why=loss.why,
        epoch=last.record.epoch if last.record else 0,
        phase=Phase.STOPPED,
        least_epoch=loss.epoch,
        policy=replace(loaded.stop_policy, cancel_orders=True),
        reach_ms=reach_ms,
    )
    if failed is None:
        record = context.instances.read(instance_id)
        phase, epoch = (record.phase, record.epoch) if record else (Phase.STOPPED, 0)
        return Started(result=StartResult(result=str(phase), epoch=epoch), warnings=())
    raise StateLost(
        said(
            "{instance_id}: {why}: it was lost, or they are somebody else's. It is taken for failed (run "
            "{epoch}) and cleaned up; follow that with manage.py cleanup {instance_id}, then start it again",
            instance_id=instance_id,
            why=loss.why,
            epoch=failed.epoch,
        )
    )


def _preflight(
    context: Context, loaded: LoadedInstance, looks: Looks
) -> tuple[tuple[OpenOrder, ...], tuple[str, ...]]:
    """Show the strategy what it would find; return the symbol's open orders and its warnings.

    Raises `StartRefused`, `ExchangeError`.
    """
    venue, symbol = context.venues.of(loaded.config), loaded.config.metadata.symbol
    context.venues.instrument(loaded.config)
    # Shows that the keys are accepted, too.
    listed = looks.once((venue, "orders", symbol), lambda: tuple(venue.open_orders(symbol)))
    if loaded.strategy.preflight is None:
        return listed, ()
    found = loaded.strategy.preflight(first_snapshot(context, loaded.config, looks), loaded.params)
    if found.problems:
        raise StartRefused(
            said(
                "{instance_id}: {problems}",
                instance_id=loaded.config.instance_id,
                problems=joined(found.problems),
            )
        )
    return listed, found.warnings


def stop_policy(
    context: Context, instance_id: str, *, close_position: bool = False, keep_orders: bool = False
) -> StopPolicy:
    """Return the policy of the running configuration, overridden by what the user asked for.

    Raises `StartRefused` when the position may not be closed: it belongs to the whole account's symbol.
    """
    text = context.instances.config_json(instance_id)
    if not text:
        return StopPolicy(cancel_orders=not keep_orders, close_position=close_position)
    loaded = from_config(InstanceConfig.from_json(text))
    policy = StopPolicy(
        cancel_orders=loaded.stop_policy.cancel_orders and not keep_orders,
        close_position=loaded.stop_policy.close_position or close_position,
    )
    check_policy(loaded, policy)
    return policy


def check_policy(loaded: LoadedInstance, policy: StopPolicy) -> None:
    """Raise `StartRefused` for a policy that could touch what is not the instance's own."""
    if not policy.close_position:
        return
    instance_id = loaded.config.metadata.instance_id
    if loaded.config.metadata.market_type != "perp":
        raise StartRefused(
            said(
                "{instance_id}: only a perpetual position can be closed by a stop; this is a spot instance",
                instance_id=instance_id,
            )
        )
    if not loaded.config.exclusive_symbol:
        raise StartRefused(
            said(
                "{instance_id}: closing would close the account's whole position in {symbol}; set "
                '"exclusive_symbol": true when nothing else trades it',
                instance_id=instance_id,
                symbol=loaded.config.metadata.symbol,
            )
        )
    if not policy.cancel_orders:
        raise StartRefused(
            said(
                "{instance_id}: a position cannot be closed while orders are kept; choose one",
                instance_id=instance_id,
            )
        )


def _require_same_place(context: Context, last: Record, loaded: LoadedInstance, account: str) -> None:
    """Raise `StartRefused` where orders of the last run may rest that the new one never looks at."""
    kept = told_order_ids(last.outcome, "orders_kept")
    if last.phase is not Phase.FAILED and not kept:
        return
    old = json.loads(context.instances.config_json(last.instance_id) or "{}")
    place = (last.account, old.get("metadata", {}).get("symbol"))
    if place == (account, loaded.config.metadata.symbol):
        return
    left = said("kept orders {kept}", kept=", ".join(kept)) if kept else said("may have left orders")
    raise StartRefused(
        said(
            "{instance_id}: run {epoch} {left} in {symbol_before} of account {account_before}, and a run in "
            "{symbol} of "
            "account {account} would lose sight of them; start it where it was and stop it clean first, or "
            "give the new configuration another instance id",
            instance_id=last.instance_id,
            epoch=last.epoch,
            left=left,
            symbol_before=place[1],
            account_before=place[0],
            symbol=loaded.config.metadata.symbol,
            account=account,
        )
    )


def _require_short_enough(loaded: LoadedInstance, longest_window_ms: int) -> None:
    """Raise `StartRefused` for a window beyond what is waited where the state of a run is lost."""
    if loaded.window_ms > longest_window_ms:
        raise StartRefused(
            said(
                "{instance_id}: exchange_config.default_window is {window_ms} ms, above the "
                "{longest_window_ms} ms of CLEANBOOK_LONGEST_WINDOW_MS; lower the one, or raise the other "
                "for all processes",
                instance_id=loaded.config.instance_id,
                window_ms=loaded.window_ms,
                longest_window_ms=longest_window_ms,
            )
        )


def runnable(config: InstanceConfig) -> LoadedInstance:
    """Return the loaded form of a configuration that may run. Raises `StartRefused`."""
    if not config.runnable:
        raise StartRefused(
            said(
                "{instance_id}: this version cannot trade on {exchange} yet",
                instance_id=config.instance_id,
                exchange=config.metadata.exchange,
            )
        )
    loaded = from_config(config)
    check_policy(loaded, loaded.stop_policy)
    return loaded
