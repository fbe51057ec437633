"""One chaos run from start to end: no fill lost, none counted twice, whatever fails."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from exchanges.registry import Venue
from ledger.database import open_ledger
from ledger.profit import ProfitRow, profit
from ledger.queries import open_orders
from runner.config import load_instance
from runner.receipt_reading import read_receipt
from state.bookings import BookingQueue
from state.feeds import Feeds
from tests.acceptance.world import assert_one_chain, eventually, tell
from tests.soak import ledger_checks as checks
from tests.soak.audit import read_journal
from tests.soak.fleet import Fleet, Member, hedge, perp_maker, spot_grid, spot_maker
from tests.soak.ledger_chaos import Chaos, Plan, feed_listens, feed_log, outages_noticed
from tests.soak.ledger_databases import Database
from tests.soak.ledger_exchange import ChaosExchange
from tests.soak.ledger_faults import STREAM_KINDS
from tests.soak.ledger_story import Told, Witness, told, witness
from tests.soak.world import fleet

#: How long the feed may take for everything after the last fault: two of its own rounds.
CATCH_UP_S = 150.0


def members() -> list[Member]:
    """Return who trades: two market makers, a hedge and a grid, on two coins, spot and perpetual."""
    return [spot_maker(), perp_maker(), spot_grid(), hedge("ETH_USDC_PERP")]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is compared at the end."""

    seen: Witness
    ledger: Told
    #: Symbol and trade id of each fill.
    told_by_feed: frozenset[tuple[str, str]]
    profit: Sequence[ProfitRow]
    runs: checks.Runs
    before: Mapping[str, Decimal]
    after: Mapping[str, Decimal]
    marks: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]

    def problems(self) -> list[str]:
        """Return everything that does not hold, a sentence each."""
        return [
            *checks.fill_problems(self.seen, self.ledger),
            *checks.feed_problems(self.seen, self.told_by_feed),
            *checks.owner_problems(self.seen, self.ledger, self.runs),
            *checks.order_problems(self.seen, self.ledger),
            *checks.funding_problems(self.seen, self.ledger),
            *checks.balance_problems(self.ledger, self.profit, self.before, self.after),
            *checks.profit_problems(self.seen, self.profit, self.marks, self.positions),
        ]


def run(folder: Path, database: Database, plan: Plan, *, seed: int, hurry: bool) -> Evidence:
    """Run the chaos and return what it left behind; fails where something is not as it should be.

    `hurry` makes the feed reconcile by reconnects; otherwise its own rounds, once a minute, are waited for.
    """
    environ = {"CLEANBOOK_LEDGER_URL": database.url}
    with fleet(folder, members(), seed=seed, environ=environ, start=False) as found:
        exchange = ChaosExchange(found.stack.simulator_url)
        try:
            found.configure()
            before = _balances(found)
            found.start()
            chaos = Chaos(
                fleet=found, exchange=exchange, database=database, plan=plan, dice=random.Random(seed)
            )
            chaos.run()
            found.stop()
            stopped_s = time.monotonic()
            _wait_for_unanswered_ping(found)
            exchange.clear_faults()
            exchange.clear_stream_faults()
            took_s = _catch_up(found, exchange, database, hurry=hurry)
            evidence = _evidence(found, chaos, database, before)
            _tell_figures(chaos, evidence, took_s, time.monotonic() - stopped_s)
        finally:
            exchange.close()
        problems = [*evidence.problems(), *_chain_problems(found)]
        assert not problems, "\n".join(problems)
        assert sorted(evidence.seen.stream_faults) == sorted(STREAM_KINDS)
        assert (chaos.kills, chaos.outages) == (plan.feed_kills, plan.outages)
        assert {row["instance_id"] for row in evidence.ledger.fills} == {m.instance_id for m in found.members}
        assert evidence.ledger.funding
    return evidence


def _wait_for_unanswered_ping(found: Fleet) -> None:
    """Nothing runs any more, so that the feed has nothing to go by but its own pings."""
    eventually(
        lambda: "no_pong" in witness(read_journal(found.journal)).stream_faults,
        60,
        what="a ping that is not answered",
    )


def _catch_up(found: Fleet, exchange: ChaosExchange, database: Database, *, hurry: bool) -> float:
    """Wait until the feed has told everything and the ledger has taken it; return after how many seconds.

    Only conditions that a user could see: queue, cursor and open orders, not the comparison that follows.
    """
    context, began_s = found.context, time.monotonic()
    account = found.record(found.members[0]).account
    queue, feeds = BookingQueue(context.client), Feeds(context.client, context.scripts)
    since_ms, cut_s = context.instances.now_ms(), 0.0
    eventually(lambda: feed_listens(found), 60, what="a feed that listens")
    with open_ledger(database.url) as ledger:

        def is_done() -> bool:
            nonlocal cut_s
            if hurry and time.monotonic() - cut_s > 4:
                cut_s = time.monotonic() if exchange.disconnect(abort=False) else 0.0
            read_ms = feeds.cursor(account, "funding") or 0
            return read_ms > since_ms and queue.length() == 0 and not open_orders(ledger, account)

        try:
            eventually(is_done, CATCH_UP_S, what="an empty queue, and no open order in the ledger")
        except AssertionError as error:
            left = Counter(order.symbol for order in open_orders(ledger, account))
            raise AssertionError(
                f"{error}: {queue.length()} wait, open by the ledger {dict(left)}"
            ) from error
    return time.monotonic() - began_s


def _evidence(found: Fleet, chaos: Chaos, database: Database, before: Mapping[str, Decimal]) -> Evidence:
    venue = _venue(found)
    marks = {member.symbol: _mark(found, member.symbol) for member in found.members}
    with open_ledger(database.url) as ledger:
        return Evidence(
            seen=witness(read_journal(found.journal)),
            ledger=told(ledger),
            told_by_feed=_told_by_feed(found),
            profit=profit(ledger, marks=marks),
            runs=checks.Runs(
                names={found.record(member).slot: member.instance_id for member in found.members},
                epochs=chaos.epochs,
            ),
            before=before,
            after=_balances(found),
            marks=marks,
            positions={each.symbol: each.net_quantity for each in venue.positions()},
        )


def _told_by_feed(found: Fleet) -> frozenset[tuple[str, str]]:
    """Return the fills in the feeds' log; one that was killed in the middle of a line left a broken one."""
    fills = set()
    for line in feed_log(found).splitlines():
        with suppress(ValueError, KeyError):
            entry = json.loads(line)
            if entry["event"] == "fill":
                fills.add((entry["symbol"], entry["trade_id"]))
    return frozenset(fills)


def _venue(found: Fleet) -> Venue:
    settings = found.context.settings
    loaded = load_instance(found.members[0].instance_id, settings.config_dir, settings.environ)
    return found.context.venues.of(loaded.config)


def _mark(found: Fleet, symbol: str) -> Decimal:
    book = _venue(found).order_book(symbol)
    return (book.bids[0].price + book.asks[0].price) / 2


def _balances(found: Fleet) -> dict[str, Decimal]:
    """Return what the account has of each asset, as `GET /api/v1/capital` says."""
    return {asset: each.available + each.locked for asset, each in _venue(found).balances().items()}


def _chain_problems(found: Fleet) -> list[str]:
    """Return where iterations overlapped, or came out of order."""
    problems = []
    for member in found.members:
        trace = found.context.events.trace(member.instance_id)
        first = next((n for n, entry in enumerate(trace) if entry["event"] == "claimed"), len(trace))
        try:
            # Older entries are gone: a commit may be left without its claim.
            assert_one_chain(trace[first:], lease_ms=found.context.settings.lease_ms)
        except AssertionError as error:
            problems.append(f"{member.instance_id}: {error}")
        outcome = read_receipt(found.record(member).outcome)
        if not outcome.is_clean:
            problems.append(f"{member.instance_id}: stopped, but {outcome}")
    return problems


def _tell_figures(chaos: Chaos, evidence: Evidence, took_s: float, since_stop_s: float) -> None:
    log = feed_log(chaos.fleet)
    sources = Counter(row["source"] for row in evidence.ledger.fills)
    per_instance = Counter(row["instance_id"] for row in evidence.ledger.fills)
    tell(f"{len(evidence.seen.fills)} fills by the journal, {len(evidence.ledger.fills)} in the ledger")
    tell(f"told first by {dict(sources)}; of {dict(per_instance)}")
    tell(f"{len(evidence.seen.orders)} orders, {chaos.payments} fundings, {chaos.restarts} runs restarted")
    tell(f"{chaos.kills} feeds killed, {chaos.outages} outages of the database, {chaos.cut} connections cut")
    tell(f"{log.count('stream open')} connections, {log.count('stream lost')} of them lost")
    tell(f"{log.count('reconciled') - log.count('not reconciled')} reconciliations")
    tell(f"{log.count('not reconciled')} of them failed; {outages_noticed(chaos.fleet)} times no ledger")
    tell(
        f"longest queue {chaos.longest_queue}; all told {took_s:.1f} s after the faults ended, "
        f"{since_stop_s:.1f} s after the stop"
    )
