"""What the daily summary says: what the last whole UTC day made, and how the instances stand now."""

from __future__ import annotations

from collections import Counter

import redis

from alerts.phrases import Phrases, words
from cli.amounts import money
from ledger.database import open_ledger
from ledger.folding import day_of
from ledger.profit import Grouping, ProfitRow, profit, totals
from settings import Settings
from state.heartbeats import Heartbeats

DAY_MS = 86_400_000
#: Of a message that people read on a phone.
MOST_LINES = 30


def daily_summary(settings: Settings, client: redis.Redis, now_ms: int, phrases: Phrases) -> str:
    """Return a title, and a line for each instance that traded.

    It reads the ledger and changes nothing; what waits for the ledger is not in it. Raises `LedgerError` and
    `redis.RedisError`.
    """
    day = day_of(now_ms - DAY_MS)
    phases = Counter(beat.phase for beat in Heartbeats(client).read().beats.values())
    with open_ledger(settings.ledger_url) as ledger:
        rows = [row for row in profit(ledger, by=Grouping.DAY, since_day=day) if row.day == day]
    counts = [
        phrases.say("summary.count", count=count, phase=words(f"phase.{phase}"))
        for phase, count in sorted(phases.items())
    ]
    standing = ", ".join(counts) or phrases.say("summary.none")
    lines = [_line(row, phrases) for row in sorted(rows, key=lambda row: (row.instance_id, row.symbol))]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], phrases.say("more", count=len(lines) - MOST_LINES)]
    sums = [
        phrases.say(
            "summary.total",
            made=money(sum_.closed_total),
            asset=asset,
            volume=money(sum_.volume),
            fills=sum_.fills,
        )
        for asset, sum_ in sorted(totals(rows).items())
    ]
    head = [phrases.say("summary.title", day=day), phrases.say("summary.now", standing=standing)]
    return "\n".join([*head, *(lines or [phrases.say("summary.no_trade")]), *sums])


def _line(row: ProfitRow, phrases: Phrases) -> str:
    return phrases.say(
        "summary.line",
        name=row.instance_id or phrases.say("summary.nobody"),
        symbol=row.symbol,
        made=money(row.closed_total),
        asset=row.quote_asset,
        volume=money(row.volume),
        fills=row.fills,
    )
