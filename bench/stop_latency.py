"""How long a stop takes: from the request to `finish`, on an idle chain with six open orders.

    python bench/stop_latency.py [--quick] [--stops N] [--latency-ms MS]

Real Valkey, real workers, the simulated exchange over sockets with a fixed latency. Beside each stop the
floor is measured in the same run: one round of cancels and two lists, sent straight through the adapter.
Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cli.stack.stack import Stack, StackOptions  # noqa: E402 - the checkout is put on the path first
from exchanges.base import Authorization  # noqa: E402
from market.orders import NewOrder, OrderType, Side  # noqa: E402
from runner.config import load_instance  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.execution import cancel_orders  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from state.client_ids import owns  # noqa: E402
from state.instances import StopPolicy  # noqa: E402

INSTANCE = "bench_sol_01"
ORDERS = 6
#: Iterations before a stop, so that every connection is warm and the ladder stands.
SETTLED = 3
DEADLINE_S = 20.0
CONFIG = {
    "metadata": {
        "instance_id": INSTANCE,
        "exchange": "backpack",
        "symbol": "SOL_USDC",
        "market_type": "spot",
        "strategy": "standard",
    },
    "exchange_config": {},
    "strategy_config": {
        "spread": "1",
        "max_orders": ORDERS // 2,
        "quantity": "0.5",
        "enable_rebalance": False,
        # Long beside an iteration, so that the chain is idle when it is stopped.
        "interval": 1,
    },
    "live": False,
}


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One measured stop, ms from the request."""

    claimed_ms: int
    cancels_sent_ms: int
    finished_ms: int
    #: The same work straight through the adapter.
    floor_ms: float


class NotSettled(RuntimeError):
    """Raised when the chain does not come to rest; the figures would mean nothing."""


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 40 s")
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--cli-stops", type=int, default=5)
    parser.add_argument("--latency-ms", type=int, default=20)
    options = parser.parse_args()
    stops, cli_stops = (5, 2) if options.quick else (options.stops, options.cli_stops)
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        (config_dir / f"{INSTANCE}.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        stack_options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            simulator_arguments=("--flow", "still", "--latency-ms", str(options.latency_ms)),
        )
        with Stack(stack_options) as stack:
            context = open_context(stack.settings())
            measured = [_measure(context, number, stops) for number in range(1, stops + 1)]
            walls = [_measure_cli(context, folder, config_dir) for _ in range(cli_stops)]
    _report(measured, walls, options.latency_ms)
    return 0


def _measure(context: Context, number: int, of: int) -> Stop:
    _start_and_settle(context)
    position = context.events.last_id()
    request = context.instances.request_stop(INSTANCE, by="bench", reason="bench", policy=StopPolicy())
    seen: dict[str, int] = {}
    deadline = time.monotonic() + DEADLINE_S
    while "stopped" not in seen:
        if time.monotonic() > deadline:
            raise NotSettled("the stop did not finish clean")
        for event in context.events.read(position, block_ms=1000):
            position = event.stream_id
            name = event.fields.get("step") or event.fields.get("result") or event.event
            seen.setdefault(name, event.at_ms - request.at_ms)
    stop = Stop(
        claimed_ms=seen["cleanup_claimed"],
        cancels_sent_ms=seen["cancels_sent"],
        finished_ms=seen["stopped"],
        floor_ms=_floor(context),
    )
    print(f"stop {number}/{of}: {stop.finished_ms} ms, floor {stop.floor_ms:.0f} ms", file=sys.stderr)
    return stop


def _start_and_settle(context: Context) -> None:
    if not start_instance(context, INSTANCE, by="bench").result.started:
        raise NotSettled("the instance is not stopped")
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        record = context.instances.read(INSTANCE)
        if (
            record
            and record.seq >= SETTLED
            and not record.lease_until_ms
            and _own(context, record.slot) == ORDERS
        ):
            return
        pause.wait(0.02)
    raise NotSettled(f"no {ORDERS} open orders after {SETTLED} iterations within {DEADLINE_S:g} s")


def _own(context: Context, slot: int) -> int:
    config = load_instance(INSTANCE, context.settings.config_dir, context.settings.environ).config
    orders = context.venues.of(config).open_orders(config.metadata.symbol)
    return sum(owns(slot, order.client_order_id) for order in orders)


def _floor(context: Context) -> float:
    """Return the ms of one round of cancels and two lists through the same adapter, nothing else."""
    config = load_instance(INSTANCE, context.settings.config_dir, context.settings.environ).config
    symbol = config.metadata.symbol
    venue = context.venues.of(config)
    book = venue.order_book(symbol)
    assert book.best_bid is not None
    price = context.venues.instrument(config).round_price(book.best_bid * 95 / 100, Side.BUY)
    orders = [
        NewOrder(
            client_order_id=number,
            symbol=symbol,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=context.venues.instrument(config).min_quantity,
            price=price,
            post_only=True,
        )
        for number in range(1, ORDERS + 1)
    ]
    signed_at_ms = venue.clock.now_ms()
    placed = venue.place(orders, Authorization(signed_at_ms=signed_at_ms, window_ms=5000))
    ids = [result.order.order_id for result in placed if result.order]
    if len(ids) != ORDERS:
        raise NotSettled(f"the floor's orders were not accepted: {placed}")
    began_s = time.perf_counter()
    cancel_orders(venue, symbol, ids)
    venue.open_orders(symbol)
    venue.open_orders(symbol)
    return (time.perf_counter() - began_s) * 1000


def _measure_cli(context: Context, run_dir: str, config_dir: Path) -> float:
    """Return the wall time (s) of the whole process `manage.py stop`."""
    _start_and_settle(context)
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "stop", INSTANCE, "--json"],
        env={
            **context.settings.environ,
            "BROKER_URL": context.settings.broker_url,
            "CLEANBOOK_RUN_DIR": run_dir,
            "CLEANBOOK_CONFIG_DIR": str(config_dir),
            "CLEANBOOK_SIMULATOR_URL": context.settings.simulator_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s = time.perf_counter() - began_s
    if done.returncode != 0:
        raise NotSettled(f"manage.py stop ended with {done.returncode}: {done.stderr[-500:]}")
    print(f"manage.py stop: {wall_s:.2f} s", file=sys.stderr)
    return wall_s


def _report(stops: Sequence[Stop], walls_s: Sequence[float], latency_ms: int) -> None:
    rows = {
        "request to cleanup claimed": [float(stop.claimed_ms) for stop in stops],
        "request to cancels answered": [float(stop.cancels_sent_ms) for stop in stops],
        "request to finish": [float(stop.finished_ms) for stop in stops],
        "floor: cancels and two lists": [stop.floor_ms for stop in stops],
    }
    print(f"{'ms':30} {'p50':>7} {'p90':>7} {'max':>7}")
    for name, values in rows.items():
        print(f"{name:30} {statistics.median(values):7.0f} {_p90(values):7.0f} {max(values):7.0f}")
    finish_ms = statistics.median(rows["request to finish"])
    floor_ms = statistics.median(rows["floor: cancels and two lists"])
    bound_ms = 5 * latency_ms + 50
    print(
        json.dumps(
            {
                "bench": "stop_latency",
                "stops": len(stops),
                "latency_ms": latency_ms,
                "claimed_p50_ms": statistics.median(rows["request to cleanup claimed"]),
                "finish_p50_ms": finish_ms,
                "finish_p90_ms": _p90(rows["request to finish"]),
                "finish_max_ms": max(rows["request to finish"]),
                "floor_p50_ms": round(floor_ms, 1),
                "ratio_to_floor": round(finish_ms / floor_ms, 2),
                "bound_ms": bound_ms,
                "within_bound": finish_ms <= bound_ms,
                "cli_p50_s": round(statistics.median(walls_s), 3),
                "cli_max_s": round(max(walls_s), 3),
            }
        )
    )


def _p90(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.9))]


if __name__ == "__main__":
    sys.exit(main())
