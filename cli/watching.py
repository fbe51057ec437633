"""What a feed has to listen to: the accounts of the instances that run, and how each is reached."""

from __future__ import annotations

from collections import defaultdict

import structlog

from exchanges.registry import VenueSettings, open_stream
from feed.watched import Connections, WakeOnMove, WatchedAccount, WatchedInstance
from runner.access import AnotherAccount, access, market_venue, require_account
from runner.config import ConfigError
from runner.context import Context
from runner.loaded import LoadedInstance, load_running
from state.record import Phase, Record

log = structlog.get_logger(__name__)

#: The last fills of a stopped instance may come this much later.
LINGER_MS = 120_000


class Watching:
    """Reads the state server for a feed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        #: By account: an instance that trades on it.
        self._examples: dict[str, LoadedInstance] = {}
        #: Instances whose configuration cannot be read, to why, so that it is said once.
        self._unreadable: dict[str, str] = {}

    def read(self) -> dict[str, WatchedAccount]:
        """Return the accounts to listen to. Raises `redis.RedisError`."""
        now_ms = self._context.instances.now_ms()
        by_account: defaultdict[str, list[WatchedInstance]] = defaultdict(list)
        for record in self._context.instances.read_all(self._note_unreadable):
            is_over = record.phase is Phase.STOPPED and now_ms - (record.stopped_at_ms or 0) > LINGER_MS
            if is_over or not record.account:
                continue
            loaded = self._load(record)
            if loaded is not None:
                self._examples[record.account] = loaded
                by_account[record.account].append(watched_instance(record, loaded))
        return {
            account: WatchedAccount(
                account=account,
                venue_name=market_venue(self._examples[account].config),
                instances=tuple(instances),
            )
            for account, instances in by_account.items()
        }

    def connect(self, account: str) -> Connections:
        """Open an account. Raises `ConfigError` and `AnotherAccount` where this process lacks its keys."""
        config = self._examples[account].config
        require_account(config, self._context.settings, account)
        found = access(config, self._context.settings)
        venue = self._context.venues.of(config)
        settings = VenueSettings(base_url=found.base_url)
        stream = open_stream(config.metadata.exchange, settings, found.credentials, venue.clock)
        return Connections(venue=venue, stream=stream)

    def can_open(self, account: str) -> bool:
        """Tell whether the keys of an account that was read are here."""
        try:
            require_account(self._examples[account].config, self._context.settings, account)
        except (ConfigError, AnotherAccount) as error:
            self._note_unreadable(account, error)
            return False
        return True

    def _load(self, record: Record) -> LoadedInstance | None:
        try:
            loaded = load_running(
                self._context, record.instance_id, record.config_version, epoch=record.epoch
            )
        except Exception as error:  # noqa: BLE001 - one unreadable instance must not silence the others
            self._note_unreadable(record.instance_id, error)
            return None
        self._unreadable.pop(record.instance_id, None)
        return loaded

    def _note_unreadable(self, instance_id: str, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        if self._unreadable.get(instance_id) != why:
            log.warning("instance not listened to", instance=instance_id, why=why)
        self._unreadable[instance_id] = why


def watched_instance(record: Record, loaded: LoadedInstance) -> WatchedInstance:
    """Return what a feed has to know of an instance."""
    limit_s = loaded.limits.max_data_age_s
    return WatchedInstance(
        instance_id=record.instance_id,
        slot=record.slot,
        symbol=loaded.config.metadata.symbol,
        started_at_ms=record.started_at_ms or 0,
        is_running=record.phase is Phase.RUNNING,
        max_silence_s=None if limit_s is None else float(limit_s),
        wake_on_move=None if record.is_paused else _wake_on_move(loaded),
    )


def _wake_on_move(loaded: LoadedInstance) -> WakeOnMove | None:
    pace = loaded.config.strategy_config.pace
    if pace.wake_on_move_bps is None:
        return None
    return WakeOnMove(move_bps=pace.wake_on_move_bps, spacing_s=float(pace.wake_spacing_s))
