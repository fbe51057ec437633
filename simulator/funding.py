"""Funding of perpetuals: payments between longs and the exchange by a rate, into histories and balances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from simulator.engine import Engine
from simulator.history import History
from simulator.journal import Journal
from simulator.markets import MARKETS, Market
from simulator.orders import text

#: What a quiet market pays per hour, a fraction of the notional.
QUIET_RATE = Decimal("0.0000125")
HOUR_MS = 3_600_000
#: Decimals of a payment.
DECIMALS = 6


def next_hour_ms(at_ms: int) -> int:
    """Return the end of the funding interval in progress."""
    return (at_ms // HOUR_MS + 1) * HOUR_MS


@dataclass(frozen=True, kw_only=True)
class FundingPayment:
    """What one account got (positive) or paid (negative) for one interval of one perpetual."""

    account: str
    user_id: int
    symbol: str
    amount: Decimal
    rate: Decimal
    #: End of the interval; no two payments of an account and symbol share one.
    ends_at_ms: int

    def wire(self) -> dict[str, Any]:
        """Return the payment as a row of the funding history."""
        return {
            "userId": self.user_id,
            "subaccountId": 0,
            "symbol": self.symbol,
            "quantity": text(self.amount),
            "intervalEndTimestamp": _naive(self.ends_at_ms),
            "fundingRate": text(self.rate),
        }


class Funding:
    """Settles intervals, and keeps who got and paid what."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._ended_ms: dict[str, int] = {}
        self.payments: History[FundingPayment] = History(lambda payment: payment.ends_at_ms)

    def settle(self, market: Market, rate: Decimal, *, at_ms: int) -> list[FundingPayment]:
        """Settle an interval that ends at `at_ms` for every open position; longs pay a positive rate.

        The interval's end is written to the second; to the millisecond where the last one ended in that
        second too.
        """
        symbol = market.symbol
        ends_at_ms, last_ms = at_ms // 1000 * 1000, self._ended_ms.get(symbol, 0)
        if ends_at_ms <= last_ms:
            ends_at_ms = max(at_ms, last_ms + 1)
        self._ended_ms[symbol] = ends_at_ms
        mark, payments = self._engine.mark(symbol), []
        for account in self._engine.accounts.values():
            net = account.net(symbol)
            if net == 0:
                continue
            payment = FundingPayment(
                account=account.name,
                user_id=account.user_id,
                symbol=symbol,
                amount=round(-rate * net * mark, DECIMALS),
                rate=rate,
                ends_at_ms=ends_at_ms,
            )
            account.add("USDC", payment.amount)
            account.positions[symbol].funding += payment.amount
            self.payments.add(account.name, symbol, payment)
            self._journal.write(
                "funding",
                account=account.name,
                symbol=symbol,
                amount=text(payment.amount),
                rate=text(rate),
                position=text(net),
                mark=text(mark),
                ends_at_ms=ends_at_ms,
            )
            payments.append(payment)
        return payments


async def run_hourly(
    funding: Funding,
    now_ms: Callable[[], int],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Settle every perpetual at the quiet rate on every full hour, until cancelled."""
    due_ms = next_hour_ms(now_ms())
    while True:
        # The wall clock and the loop's may differ a little: not before the hour.
        while (left_ms := due_ms - now_ms()) > 0:
            await sleep(left_ms / 1000)
        for market in MARKETS.values():
            if market.perp:
                funding.settle(market, QUIET_RATE, at_ms=due_ms)
        due_ms = next_hour_ms(due_ms)


def _naive(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC).replace(tzinfo=None)
    return at.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds")
