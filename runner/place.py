"""Where a run has to be cleaned up, found out with as little as is left of its state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import structlog
from pydantic_core import from_json

from runner.access import access
from runner.config import InstanceConfig
from runner.config_exchanges import BackpackExchange
from runner.config_models import MetadataConfig
from runner.context import Context
from runner.loaded import LoadedInstance, load_running
from runner.looks import Looks
from state.cleanup_leases import CleanupLease
from state.client_ids import allocate_slot, has_slot, remember_slots
from state.connection import StateError, is_led_by_sentinels
from state.server import ServerReport, server_report
from strategies.registry import UnknownStrategy, find

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a cleanup needs: enough to list and cancel, and the rest where it can be read."""

    #: Of this, nothing but the exchange, the account and the symbol may be used.
    config: InstanceConfig
    #: The whole of it; None: it cannot be read.
    instance: LoadedInstance | None
    #: Why not, empty when it can.
    problem: str
    #: True: from the instance's file, which may have been changed since the run began.
    is_guess: bool = False
    #: The lease with account and slot, which a damaged record may lack.
    lease: CleanupLease

    @property
    def unwinds_at_stop(self) -> bool:
        """Tell whether the strategy brings back what the run opened, however it is stopped."""
        if self.instance is not None:
            return self.instance.strategy.unwinds_at_stop
        metadata = self.config.metadata
        try:
            return find(metadata.strategy, metadata.market_type).unwinds_at_stop
        except UnknownStrategy:
            return False


def find_place(context: Context, lease: CleanupLease) -> Place:
    """Return where the run of `lease` is to be cleaned up.

    The configuration is the run's own, else, as far as it is needed, whatever can be read of that or of the
    instance's file. Raises `StateError` when neither says where, and `ConfigError` when keys are not set.
    """
    try:
        instance = load_running(context, lease.instance_id, lease.config_version, epoch=lease.epoch)
    except (StateError, ValueError, KeyError, TypeError, UnknownStrategy) as error:
        problem = str(error)
    else:
        return Place(
            config=instance.config,
            instance=instance,
            problem="",
            lease=_whole(context, lease, instance.config),
        )
    stored = context.instances.config_json(lease.instance_id)
    for text, is_guess in ((stored, False), (_file(context, lease.instance_id), True)):
        config = _read_place(lease.instance_id, text)
        if config is not None:
            log.warning("configuration not whole", instance=lease.instance_id, why=problem)
            return Place(
                config=config,
                instance=None,
                problem=problem,
                is_guess=is_guess,
                lease=_whole(context, lease, config),
            )
    raise StateError(
        f"{lease.instance_id}: nobody knows where its orders are: {problem}; put its file back into "
        f"{context.settings.config_dir}, the next attempt reads it"
    )


def _whole(context: Context, lease: CleanupLease, config: InstanceConfig) -> CleanupLease:
    account = lease.account or access(config, context.settings).account
    slot = lease.slot or own_slot(context, account, lease.instance_id)
    return replace(lease, account=account, slot=slot)


def own_slot(context: Context, account: str, instance_id: str, looks: Looks | None = None) -> int:
    """Return the slot of an instance on an account, allocated on first use and kept.

    Where the list of slots is lost, nobody is given one that the record of another instance has.
    Raises `NoSlotLeft`.
    """
    if not has_slot(context.client, account, instance_id):
        looks = looks or Looks(context.settings)
        # Once for a whole command: whoever starts meanwhile notes his slot in the list.
        looks.once(
            ("slots", account), lambda: _remember_slots_of_records(context, account, looks), fresh_s=inf
        )
    return allocate_slot(context.scripts, account, instance_id)


def _remember_slots_of_records(context: Context, account: str, looks: Looks) -> None:
    records = looks.once("records", lambda: context.instances.read_all(lambda name, error: None), fresh_s=inf)
    taken = {record.instance_id: record.slot for record in records if record.account == account}
    remember_slots(context.client, account, taken)


def _file(context: Context, instance_id: str) -> str:
    try:
        path = context.settings.config_dir / f"{instance_id}.json"
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def reach_ms(context: Context, instance_id: str) -> int:
    """Return how long after its permission a request of an instance's run may be accepted.

    By the run's own configuration; where that cannot say it, the longest of any: the file may have been
    changed since.
    """
    settings = context.settings
    try:
        window_ms = from_json(context.instances.config_json(instance_id))["exchange_config"]["default_window"]
    except (ValueError, KeyError, TypeError):
        window_ms = None
    is_known = type(window_ms) is int and window_ms > 0
    longest_ms = (window_ms if is_known else settings.longest_window_ms) + settings.fence_margin_ms
    return longest_ms + takeover_ms(context)


def takeover_ms(context: Context, report: ServerReport | None = None) -> int:
    """Return for how long a state server that Sentinels have replaced may still permit orders, ms.

    Raises `StateError`.
    """
    if not is_led_by_sentinels(context.client):
        return 0
    settings = context.settings
    longest_lease_ms = max(settings.lease_ms, settings.cleanup_lease_ms)
    return (report or server_report(context.client)).takeover_ms(longest_lease_ms)


def _read_place(instance_id: str, text: str) -> InstanceConfig | None:
    """Return where an instance trades, from a text of which this version need not understand more."""
    try:
        said: dict[str, Any] = from_json(text)
        named = {name: said["metadata"][name] for name in ("exchange", "symbol", "market_type", "strategy")}
        exchange = said.get("exchange_config", {})
        known = {name: exchange[name] for name in ("api_key", "secret_key", "base_url") if name in exchange}
        return InstanceConfig.model_construct(
            metadata=MetadataConfig(instance_id=instance_id, **named),
            exchange_config=BackpackExchange.model_validate(known),
            live=said.get("live", False) is True,
            exclusive_symbol=False,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
