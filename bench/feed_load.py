"""What one feed process bears: 200 instances on 20 symbols of one account.

    python bench/feed_load.py [--quick] [--seconds S] [--depth-per-s N] [--orders-per-s N] [--rates N,N,…]

Real Valkey, a real feed with a ledger, and an exchange that only talks (`feed_venue.py`): the simulated one
has six markets. No worker runs: the instances exist, and that is what a feed reads. After the load that is
asked for come higher rates, until books are late. Progress goes to standard error; standard output ends
with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - the checkout is put on the path first

from bench.feed_market import symbol_name  # noqa: E402
from bench.feed_report import Span, delays, report  # noqa: E402
from bench.process_usage import use_of_group  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.venue_process import open_venue  # noqa: E402
from cli.stack.processes import ManagedProcess  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.access import access, venue_name  # noqa: E402
from runner.config import load_instance, version_of  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from settings import environment  # noqa: E402
from state import keys  # noqa: E402
from state.bookings import BookingQueue  # noqa: E402
from state.client_ids import allocate_slot  # noqa: E402

INSTANCES = 200
SYMBOLS = 20
#: Between two looks at the books in the state server; a book is kept at most every 50 ms.
LOOK_S = 0.02
#: Talking before a span begins, and how long what was sent at its end may take.
SETTLE_S = 2.0
DEADLINE_S = 30.0


class NotLoaded(RuntimeError):
    """Raised when the feed does not take what it should; the figures would mean nothing."""


@dataclass(kw_only=True)
class _Bench:
    context: Context
    http: requests.Session
    venue_url: str
    #: As market data is kept under.
    venue_name: str
    owners: list[tuple[str, int]]
    instance_ids: list[str]
    feed: ManagedProcess
    venue: ManagedProcess
    server: ManagedProcess

    def measure(self, depth_per_s: float, orders_per_s: float, seconds: float) -> Span:
        """Let the exchange talk at these rates and return what became of it."""
        rates = {"depth_per_s": depth_per_s, "orders_per_s": orders_per_s, "owners": self.owners}
        self._start(rates)
        kept = self._look(SETTLE_S)[0]
        if len(kept) < SYMBOLS:
            raise NotLoaded(f"{len(kept)} of {SYMBOLS} books were kept; the feed says:\n{self.feed.tail()}")
        # Again, so that what is counted begins now.
        self._start(rates)
        since_ms = self.context.instances.now_ms()
        before = [use_of_group(process.pid or -1) for process in self._processes]
        began_s = time.monotonic()
        books, queue = self._look(seconds)
        took_s = time.monotonic() - began_s
        after = [use_of_group(process.pid or -1) for process in self._processes]
        sent = self._sent()
        late, _ = self._look(1.0)
        book_delays_ms, missing = [], 0
        for symbol, changed_ms in sent["changed_ms"].items():
            found, lost = delays(changed_ms, [*books.get(symbol, ()), *late.get(symbol, ())])
            book_delays_ms += found
            missing += lost
        feed, venue, server = (a.since(b) for b, a in zip(before, after, strict=True))
        return Span(
            depth_per_s=depth_per_s,
            seconds=took_s,
            messages=sent["sent"],
            feed=feed,
            venue=venue,
            server=server,
            book_delays_ms=tuple(book_delays_ms),
            missing=missing,
            fill_delays_ms=tuple(self._fill_delays_ms(since_ms)),
            queue=tuple(queue),
        )

    @property
    def _processes(self) -> tuple[ManagedProcess, ...]:
        return self.feed, self.venue, self.server

    def _start(self, rates: dict[str, Any]) -> None:
        self.http.post(f"{self.venue_url}/load/start", json=rates, timeout=5).raise_for_status()

    def _sent(self) -> dict[str, Any]:
        answer = self.http.get(f"{self.venue_url}/load/sent", timeout=5)
        answer.raise_for_status()
        return cast("dict[str, Any]", answer.json())

    def _look(self, seconds: float) -> tuple[dict[str, set[tuple[int, int]]], list[int]]:
        """Return the books seen meanwhile (time of change, of arrival), and the length of the queue."""
        names = [symbol_name(number) for number in range(SYMBOLS)]
        books: dict[str, set[tuple[int, int]]] = {}
        queue, end_s = [], time.monotonic() + seconds
        bookings = BookingQueue(self.context.client)
        while time.monotonic() < end_s:
            pipeline = self.context.client.pipeline(transaction=False)
            for name in names:
                pipeline.hmget(keys.market(self.venue_name, name), "changed_at", "received_at")
            replies = cast("list[list[str | None]]", pipeline.execute())
            for name, (changed_at, received_at) in zip(names, replies, strict=True):
                if changed_at is not None and received_at is not None:
                    books.setdefault(name, set()).add((int(changed_at), int(received_at)))
            queue.append(bookings.length())
            time.sleep(LOOK_S)
        return books, queue

    def _fill_delays_ms(self, since_ms: int) -> list[int]:
        """Return how long fills took from the exchange to their instances."""
        pipeline = self.context.client.pipeline(transaction=False)
        for instance_id in self.instance_ids:
            pipeline.xrange(keys.own_fills(instance_id), min=since_ms)
        replies = cast("list[list[tuple[str, dict[str, str]]]]", pipeline.execute())
        entries = [entry for reply in replies for entry in reply]
        found = [
            int(stream_id.partition("-")[0]) - int(json.loads(fields["fill"])["filled_at_ms"])
            for stream_id, fields in entries
        ]
        if not found:
            raise NotLoaded(f"no instance was told of a fill; the feed says:\n{self.feed.tail()}")
        return found


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 40 s")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load that is asked for")
    parser.add_argument("--depth-per-s", type=float, default=10.0, help="changes of each book a second")
    parser.add_argument("--orders-per-s", type=float, default=50.0, help="order events of the account")
    parser.add_argument("--rates", default="50,100,200,400,800", help="more changes of each book, 10 s each")
    options = parser.parse_args()
    seconds, rates = options.seconds, [float(rate) for rate in options.rates.split(",") if rate]
    if options.quick:
        seconds, rates = 12.0, []
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        spans = _measure(Path(folder), seconds, options.depth_per_s, options.orders_per_s, rates)
    report(spans, instances=INSTANCES, symbols=SYMBOLS, loads=loads)
    return 0


def _measure(
    folder: Path, seconds: float, depth_per_s: float, orders_per_s: float, rates: list[float]
) -> list[Span]:
    """Start everything and return what was measured. Raises `NotLoaded`."""
    with open_venue("feed_venue.py", folder) as (venue, venue_url):
        options = StackOptions(
            run_dir=folder,
            config_dir=folder / "config",
            fresh=True,
            simulator=False,
            workers=False,
            environ={**environment(), "CLEANBOOK_SIMULATOR_URL": venue_url},
        )
        say("starting server and feed")
        with Stack(options) as stack, requests.Session() as http:
            http.trust_env = False
            bench = _bench(stack, http, venue_url, venue)
            spans: list[Span] = []
            for rate in (depth_per_s, *rates):
                span = bench.measure(rate, orders_per_s, 10.0 if spans else seconds)
                spans.append(span)
                say(f"{rate:g}/s a book: {span.per_s:.0f} messages/s, {span.feed_percent:.0f} % of a core")
                if not span.is_on_time:
                    break
            return spans


def _bench(stack: Stack, http: requests.Session, venue_url: str, venue: ManagedProcess) -> _Bench:
    """Write the instances down as running, and wait until the feed listens."""
    context = open_context(stack.settings())
    stack.options.config_dir.mkdir()
    owners, instance_ids, name = [], [], ""
    for number in range(INSTANCES):
        symbol, instance_id = symbol_name(number % SYMBOLS), f"load_{number:03}"
        path = stack.options.config_dir / f"{instance_id}.json"
        path.write_text(json.dumps(config(instance_id, symbol)), encoding="utf-8")
        loaded = load_instance(instance_id, stack.options.config_dir, context.settings.environ).config
        account = access(loaded, context.settings).account
        slot = allocate_slot(context.scripts, account, instance_id)
        context.instances.start(
            instance_id,
            config_version=version_of(loaded),
            config_json=loaded.to_json(),
            slot=slot,
            account=account,
            by="bench",
        )
        owners.append((symbol, slot))
        instance_ids.append(instance_id)
        name = venue_name(loaded)
    feed, server = stack.processes["feed"], stack.processes["valkey"]
    deadline_s = time.monotonic() + DEADLINE_S
    # It reads instances every few seconds, and instruments once it listens.
    while '"streaming"' not in str(context.client.hgetall(keys.FEEDS)):
        if time.monotonic() > deadline_s:
            raise NotLoaded(f"the feed does not listen:\n{feed.tail()}")
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    return _Bench(
        context=context,
        http=http,
        venue_url=venue_url,
        venue_name=name,
        owners=owners,
        instance_ids=instance_ids,
        feed=feed,
        venue=venue,
        server=server,
    )


def config(instance_id: str, symbol: str) -> dict[str, object]:
    """Return an instance's file."""
    return {
        "metadata": {
            "instance_id": instance_id,
            "exchange": "backpack",
            "symbol": symbol,
            "market_type": "perp" if symbol.endswith("_PERP") else "spot",
            "strategy": "maker_hedge",
        },
        "exchange_config": {},
        "strategy_config": {"quantity": "0.5", "interval": 10},
        "limits": {"max_data_age_s": 10},
        "live": False,
    }


if __name__ == "__main__":
    sys.exit(main())
