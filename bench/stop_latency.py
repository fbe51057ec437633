"""How long a stop takes, from the request to `finish`: of an idle chain with six orders, and of an iteration.

    python bench/stop_latency.py [--quick] [--stops N] [--latency-ms MS] [--fsync POLICY]

Real Valkey, real workers, the simulated exchange over sockets with a fixed latency. Beside each stop the
floor is measured in the same run: one round of cancels and two lists, sent straight through the adapter.
Stops by request and stops by the whole command take turns, so that both meet the same load. Progress goes to
standard error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.maker_file import maker_file  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.stop_events import DEADLINE_S, NotSettled, follow, own_orders, record_of  # noqa: E402
from bench.stop_flight import INTO_FLIGHT_MS, InFlight, stop_in_flight  # noqa: E402
from bench.stop_report import Command, Floor, Phases, report  # noqa: E402 - the checkout is put on the path first
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from exchanges.base import Authorization  # noqa: E402
from market.orders import NewOrder, OrderType, Side  # noqa: E402
from runner.config import load_instance  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.execution import cancel_orders  # noqa: E402
from runner.lifecycle import start_instance  # noqa: E402
from state.stop_policy import StopPolicy  # noqa: E402

INSTANCE = "bp_sol_01"
ORDERS = 6
#: Iterations before a stop, so that every connection is warm and the ladder stands.
SETTLED = 3
#: A stop is asked for this long before the next iteration, by turns: idle, but at no fixed moment. The rest
#: of the second is the iteration's.
IDLE_MS = (350, 450, 550, 650)
# A second is long beside an iteration, so that there is a moment to stop the chain while it is idle.
CONFIG = maker_file(INSTANCE, symbol="SOL_USDC", orders=ORDERS, interval_s=1, quantity="0.5")


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 40 s")
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--cli-stops", type=int, default=20)
    parser.add_argument("--latency-ms", type=int, default=20)
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    options = parser.parse_args()
    stops, cli_stops = (5, 3) if options.quick else (options.stops, options.cli_stops)
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        (config_dir / f"{INSTANCE}.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        stack_options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            simulator_arguments=("--flow", "still", "--latency-ms", str(options.latency_ms)),
            server_fsync=options.fsync,
        )
        say("starting server, simulator and workers")
        measured: list[Phases] = []
        floors: list[Floor] = []
        commands: list[Command] = []
        flights: list[InFlight] = []
        with Stack(stack_options) as stack:
            context = open_context(stack.settings())
            idle_ms, into_ms = itertools.cycle(IDLE_MS), itertools.cycle(INTO_FLIGHT_MS)
            for number in range(1, max(stops, cli_stops) + 1):
                if number <= stops:
                    measured.append(_measure(context, next(idle_ms)))
                    floors.append(_floor(context))
                    finished_ms, floor_ms = measured[-1].finished_ms, floors[-1].whole_ms
                    say(f"stop {number}/{stops}: {finished_ms:.0f} ms, floor {floor_ms:.0f} ms")
                    flights.append(stop_in_flight(context, INSTANCE, next(into_ms)))
                    say(f"in an iteration: {flights[-1].finished_ms:.0f} ms, it {flights[-1].ended}")
                if number <= cli_stops:
                    commands.append(_measure_cli(context, folder, config_dir, next(idle_ms)))
                    say(f"manage.py stop {number}/{cli_stops}: {commands[-1].wall_ms:.0f} ms")
    report(measured, flights, floors, commands, options.latency_ms)
    return 0


def _measure(context: Context, idle_ms: int) -> Phases:
    """Stop as the command does, without the command."""
    position = _start_and_settle(context, idle_ms)
    context.instances.request_stop(INSTANCE, by="bench", reason="bench", policy=StopPolicy())
    return _phases(context, position)


def _phases(context: Context, position: str) -> Phases:
    """Follow a stop to its end and return its phases; it has to be the stop that was meant."""
    after_ms, receipt = follow(context, INSTANCE, position)
    cancelled = len(receipt.cancelled_order_ids)
    if receipt.had_unresolved or cancelled != ORDERS:
        raise NotSettled(f"not a stop of an idle chain with {ORDERS} orders: {receipt}")
    return Phases(
        claimed_ms=after_ms["cleanup_claimed"],
        cancels_sent_ms=after_ms["cancels_sent"],
        orders_cancelled_ms=after_ms["orders_cancelled"],
        finished_ms=after_ms["finished"],
    )


def _start_and_settle(context: Context, idle_ms: int) -> str:
    """Start, and return the position in the event stream when the chain is idle with all its orders.

    That is `idle_ms` before its next iteration.
    """
    if not start_instance(context, INSTANCE, by="bench").result.started:
        raise NotSettled("the instance is not stopped")
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        record = record_of(context, INSTANCE)
        until_due_ms = (record.due_at_ms or 0) - context.instances.now_ms()
        # `tick` counts the iterations that are committed.
        if record.tick >= SETTLED and not record.lease_until_ms and until_due_ms > idle_ms + 100:
            if record.errors or own_orders(context, INSTANCE) != ORDERS:
                raise NotSettled(
                    f"not {ORDERS} open orders after {record.tick} iterations; {record.last_error}"
                )
            position = context.events.last_id()
            pause.wait(max(0, (record.due_at_ms or 0) - context.instances.now_ms() - idle_ms) / 1000)
            return position
        pause.wait(0.01)
    raise NotSettled(f"not idle after {SETTLED} iterations within {DEADLINE_S:g} s")


def _floor(context: Context) -> Floor:
    """Time one round of cancels and two lists through the same adapter, nothing else."""
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
    cancelled_s = time.perf_counter()
    lists = venue.open_orders(symbol), venue.open_orders(symbol)
    ended_s = time.perf_counter()
    if any(lists):
        raise NotSettled(f"the floor's orders are still there: {lists}")
    return Floor(cancels_ms=(cancelled_s - began_s) * 1000, whole_ms=(ended_s - began_s) * 1000)


def _measure_cli(context: Context, run_dir: str, config_dir: Path, idle_ms: int) -> Command:
    """Stop with the whole process `manage.py stop`."""
    environ = {
        **context.settings.environ,
        "BROKER_URL": context.settings.broker_url,
        "CLEANBOOK_RUN_DIR": run_dir,
        "CLEANBOOK_CONFIG_DIR": str(config_dir),
        "CLEANBOOK_SIMULATOR_URL": context.settings.simulator_url,
    }
    position = _start_and_settle(context, idle_ms)
    wall_ms = _python(environ, str(ROOT / "manage.py"), "stop", INSTANCE)
    phases = _phases(context, position)
    imports_ms = _python(environ, "-c", "import cli.main, cli.stop") - _python(environ, "-c", "pass")
    return Command(phases=phases, wall_ms=wall_ms, imports_ms=imports_ms)


def _python(environ: Mapping[str, str], *arguments: str) -> float:
    """Run Python to its end and return the ms that took. Raises `NotSettled` when it failed."""
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    wall_ms = (time.perf_counter() - began_s) * 1000
    if done.returncode != 0:
        raise NotSettled(
            f"{arguments} ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"
        )
    return wall_ms


if __name__ == "__main__":
    sys.exit(main())
