"""What the daily summary says: what the last whole UTC day made, and how the instances stand now."""

from __future__ import annotations

from collections import Counter

import redis

from cli.amounts import money
from ledger.database import open_ledger
from ledger.folding import day_of
from ledger.profit import Grouping, ProfitRow, profit, totals
from settings import Settings
from state.heartbeats import Heartbeats

DAY_MS = 86_400_000
#: Of a message that people read on a phone.
MOST_LINES = 30


def daily_summary(settings: Settings, client: redis.Redis, now_ms: int) -> str:
    """Return a title, and a line for each instance that traded.

    It reads the ledger and changes nothing; what waits for the ledger is not in it. Raises `LedgerError` and
    `redis.RedisError`.
    """
    day = day_of(now_ms - DAY_MS)
    phases = Counter(beat.phase for beat in Heartbeats(client).read().beats.values())
    with open_ledger(settings.ledger_url) as ledger:
        rows = [row for row in profit(ledger, by=Grouping.DAY) if row.day == day]
    standing = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "no instances"
    lines = [_line(row) for row in sorted(rows, key=lambda row: (row.instance_id, row.symbol))]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more"]
    sums = [
        f"total {money(sum_.closed_total)} {asset}, volume {money(sum_.volume)}, {sum_.fills} fills"
        for asset, sum_ in sorted(totals(rows).items())
    ]
    return "\n".join([f"Summary of {day} (UTC)", f"now: {standing}", *(lines or ["nobody traded"]), *sums])


def _line(row: ProfitRow) -> str:
    name = row.instance_id or "(none)"
    return (
        f"{name} {row.symbol}: {money(row.closed_total)} {row.quote_asset}, "
        f"volume {money(row.volume)}, {row.fills} fills"
    )
