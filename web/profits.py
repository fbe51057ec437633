"""What instances have made today, worked out in the background: a request never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

import redis
import structlog

from ledger.errors import LedgerError
from ledger.folding import PRECISION, day_of
from ledger.profit import Grouping, profit
from web.ledger_access import LedgerAccess

log = structlog.get_logger(__name__)

#: Worked out again at the earliest after this, and after this many times what it took.
LEAST_AGE_S = 3.0
AGE_PER_EFFORT = 10.0


@dataclass(frozen=True, kw_only=True)
class Today:
    """Closed profit of the UTC day: realised and funding, after fees."""

    amount: Decimal
    asset: str


class Profits:
    """The profit of every instance that traded today, at most some seconds old."""

    def __init__(self, ledger: LedgerAccess) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._is_working = False
        self._next_s = 0.0
        self._today: Mapping[str, Today] | None = None

    def today(self) -> Mapping[str, Today] | None:
        """Return what is known, None before the first answer of the ledger; who did not trade is left out."""
        with self._lock:
            if not self._is_working and time.monotonic() >= self._next_s:
                self._is_working = True
                threading.Thread(target=self._work, name="profits", daemon=True).start()
            return self._today

    def _work(self) -> None:
        began_s = time.monotonic()
        found: Mapping[str, Today] | None = None
        try:
            found = _read(self._ledger)
        except (LedgerError, redis.RedisError) as error:
            log.warning("today's profit is not known", error=str(error))
        finally:
            took_s = time.monotonic() - began_s
            with self._lock:
                self._today = found
                self._is_working = False
                self._next_s = time.monotonic() + max(LEAST_AGE_S, AGE_PER_EFFORT * took_s)


def _read(access: LedgerAccess) -> Mapping[str, Today]:
    ledger = access.open()
    today = day_of(time.time_ns() // 1_000_000)
    found: dict[str, Today] = {}
    with localcontext(PRECISION):
        for row in profit(ledger, by=Grouping.DAY, since_day=today):
            if row.day != today or not row.instance_id:
                continue
            before = found.get(row.instance_id)
            if before is None:
                found[row.instance_id] = Today(amount=row.closed_total, asset=row.quote_asset)
            elif before.asset == row.quote_asset:
                amount = before.amount + row.closed_total
                found[row.instance_id] = Today(amount=amount, asset=row.quote_asset)
    return found
