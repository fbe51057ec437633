"""Open exchanges for instances: one adapter per account and process, with its share of the rate budget."""

from __future__ import annotations

import threading
import time

from exchanges.budget import CleanupBudget, RequestKind
from exchanges.errors import RateLimited
from exchanges.registry import Venue, VenueSettings, open_exchange
from market.instrument import Instrument
from metrics import families
from runner.access import access
from runner.config import InstanceConfig
from settings import Settings
from state.budget import BudgetLimits, take, take_turn
from state.scripts import Scripts

#: Rules of an instrument are read again after this long; the venue's own cache keeps them 5 minutes.
INSTRUMENT_TTL_S = 300.0
#: How long a cleanup's request waits for its turn. With the time-outs of a request it stays below the lease.
PATIENCE_MS = 1_500


class SharedBudget:
    """The account's request budget, kept in Redis for all workers."""

    def __init__(self, scripts: Scripts, account: str, limits: BudgetLimits) -> None:
        self._scripts = scripts
        self._account = account
        self._limits = limits

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests. Raises `RateLimited` with the time to wait when there are none."""
        wait_ms = take(
            self._scripts,
            self._account,
            self._limits,
            count=count,
            may_use_reserve=kind is RequestKind.CANCEL,
        )
        if wait_ms > 0:
            raise self._used_up(kind, wait_ms)

    def take_turn(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests with the reserve and wait for their turn. Raises `RateLimited` likewise."""
        turn = take_turn(self._scripts, self._account, self._limits, count=count, patience_ms=PATIENCE_MS)
        if not turn.is_taken:
            raise self._used_up(kind, turn.wait_ms)
        if turn.wait_ms:
            threading.Event().wait(turn.wait_ms / 1000)

    def _used_up(self, kind: RequestKind, wait_ms: int) -> RateLimited:
        families.REQUESTS_FAILED.add(kind, "own_budget")
        return RateLimited(
            f"the request budget of account {self._account} is used up", retry_after_s=wait_ms / 1000
        )


class Venues:
    """The exchanges this process has open."""

    def __init__(self, settings: Settings, scripts: Scripts) -> None:
        self._settings = settings
        self._scripts = scripts
        #: By address, account, and whether it is for cleanups.
        self._open: dict[tuple[str, str, bool], Venue] = {}
        #: By address and symbol, with the time of reading.
        self._instruments: dict[tuple[str, str], tuple[float, Instrument]] = {}

    def of(self, config: InstanceConfig, *, for_cleanup: bool = False) -> Venue:
        """Return the venue of an instance, opened on first use.

        Raises `ConfigError` when a live instance's keys are not in the environment.
        """
        wanted = access(config, self._settings)
        key = (wanted.base_url, wanted.account, for_cleanup)
        if key not in self._open:
            budget = SharedBudget(
                self._scripts, wanted.account, BudgetLimits.of(self._settings.requests_per_minute)
            )
            self._open[key] = open_exchange(
                config.metadata.exchange,
                VenueSettings(base_url=wanted.base_url),
                wanted.credentials,
                CleanupBudget(budget) if for_cleanup else budget,
            )
        return self._open[key]

    def instrument(self, config: InstanceConfig) -> Instrument:
        """Return the rules of the instance's symbol, at most 5 minutes old."""
        key = (access(config, self._settings).base_url, config.metadata.symbol)
        read_at_s, instrument = self._instruments.get(key, (0.0, None))
        if instrument is None or time.monotonic() - read_at_s > INSTRUMENT_TTL_S:
            instrument = self.of(config).instrument(config.metadata.symbol)
            self._instruments[key] = (time.monotonic(), instrument)
        return instrument
