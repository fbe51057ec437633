"""How long it takes until a thousand instances are stopped, each with its proof.

    python bench/stop_all.py [--quick] [--instances N] [--accounts N] [--latency-ms MS] [--children N]

Real Valkey, a real worker for cleanups, the whole command `manage.py stop --all`, and the simulated exchange
over sockets with a fixed latency and its usual limit of 2000 requests a minute for each account. The orders
are put on the book by the product's own first iterations, which this process plays: workers would need
minutes for it, and what is measured begins with the stop. Progress goes to standard error; standard output
ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402 - the checkout is put on the path first
import structlog  # noqa: E402

from bench.journal_tail import JournalTail  # noqa: E402
from bench.process_usage import cpu_s, pss_mb, tree  # noqa: E402
from bench.progress import say  # noqa: E402
from bench.stop_all_fleet import ORDERS, Fleet, NotPlaced  # noqa: E402
from bench.stop_all_report import Stops, report  # noqa: E402
from cli.stack.processes import ManagedProcess, ProcessSpec  # noqa: E402
from cli.stack.stack import CLEANUP_WORKER, Stack, StackOptions  # noqa: E402
from runner.context import Context, open_context  # noqa: E402
from runner.receipt_reading import read_receipt  # noqa: E402
from settings import environment, load  # noqa: E402
from state import keys  # noqa: E402

#: Beyond anything that the limit can explain.
DEADLINE_S = 380.0
#: The first iterations are not what is measured: our own limit must not slow them down.
UNLIMITED = {"CLEANBOOK_REQUESTS_PER_MINUTE": "1000000"}


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="120 instances, under 40 s")
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--latency-ms", type=int, default=20)
    parser.add_argument("--children", type=int, default=4, help="of the worker, which work side by side")
    parser.add_argument("--no-direct", action="store_true", help="the command runs no cleanup itself")
    options = parser.parse_args()
    fleet = Fleet(accounts=options.accounts, instances=options.instances)
    if options.quick:
        fleet = Fleet(accounts=2, instances=120)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        stops = _measure(Path(folder), fleet, options)
    report(stops, latency_ms=options.latency_ms, children=options.children, load_before=load_before)
    return 0


def _measure(folder: Path, fleet: Fleet, options: argparse.Namespace) -> Stops:
    accounts, config_dir = folder / "accounts.json", folder / "config"
    fleet.write_accounts(accounts)
    stack_options = StackOptions(
        run_dir=folder,
        config_dir=config_dir,
        fresh=True,
        workers=False,
        feed=False,
        simulator_arguments=(
            *("--flow", "still", "--latency-ms", str(options.latency_ms), "--accounts", str(accounts)),
        ),
        environ={**environment(), **fleet.keys()},
    )
    say("starting server and exchange")
    with Stack(stack_options) as stack, requests.Session() as http:
        http.trust_env = False
        fleet.write_files(config_dir, stack.simulator_url)
        settings = stack.settings()
        context = open_context(settings)
        began_s = time.monotonic()
        fleet.place(load({**settings.environ, **UNLIMITED}))
        placed = _resting(http, stack.simulator_url)
        if placed != ORDERS * fleet.instances:
            raise NotPlaced(f"{placed} orders rest, not {ORDERS} of each instance")
        say(f"{placed} orders of {fleet.instances} instances rest, after {time.monotonic() - began_s:.0f} s")
        # What the first iterations took is given back: the bound reckons with a full budget.
        context.client.delete(*context.client.keys(keys.budget("*")))
        worker = _start_worker(stack, options.children)
        try:
            return _stop(context, stack, http, worker, fleet, direct=not options.no_direct)
        finally:
            worker.stop()


def _start_worker(stack: Stack, children: int) -> ManagedProcess:
    command = CLEANUP_WORKER.replace("-c 4", f"-c {children}").split()
    spec = ProcessSpec(
        name="cleanup",
        command=(sys.executable, "-m", *command),
        environ=stack.settings().environ,
        cwd=ROOT,
    )
    worker = ManagedProcess(spec, stack.log_dir)
    worker.start()
    context, deadline_s = open_context(stack.settings()), time.monotonic() + 30
    while not context.events.workers(now_ms=context.instances.now_ms()):
        if time.monotonic() > deadline_s or not worker.is_alive:
            raise NotPlaced(f"the worker does not come up:\n{worker.tail()}")
        time.sleep(0.05)
    return worker


def _stop(
    context: Context,
    stack: Stack,
    http: requests.Session,
    worker: ManagedProcess,
    fleet: Fleet,
    *,
    direct: bool,
) -> Stops:
    """Stop everything and return how that went. Raises `NotPlaced` for a stop that was not clean."""
    tail = JournalTail(stack.data_dir / "journal.jsonl")
    tail.more()
    position = context.events.last_id()
    server, exchange = stack.processes["valkey"], stack.processes["simulator"]
    roots = {"worker": worker, "exchange": exchange, "server": server}
    pids = {name: tree(process.pid or 0) for name, process in roots.items()}
    before = {name: cpu_s(of) for name, of in pids.items()}
    command = (str(ROOT / "manage.py"), "stop", "--all", "--timeout", str(int(DEADLINE_S)))
    own_before_s, began_s = _children_s(), time.monotonic()
    done = subprocess.run(
        (sys.executable, *command, *(() if direct else ("--no-direct",))),
        cwd=ROOT,
        env=dict(stack.settings().environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S + 20,
        check=False,
    )
    wall_s = time.monotonic() - began_s
    if done.returncode != 0:
        raise NotPlaced(f"the command ended with {done.returncode}: {done.stderr[-2000:]}")
    used = {name: cpu_s(of) - before[name] for name, of in pids.items()}
    used["command"] = _children_s() - own_before_s
    left = _resting(http, stack.simulator_url)
    if left:
        raise NotPlaced(f"{left} orders rest after everything was stopped")
    asked: Counter[str] = Counter()
    for entry in tail.more():
        if entry["event"] == "request":
            asked[f"{entry['method']} {entry['path']}"] += 1
    requested_ms, finished_ms, here = [], [], 0
    for event in context.events.read(position, count=100_000):
        if event.event == "stop_requested":
            requested_ms.append(event.at_ms)
        elif event.event == "finished":
            receipt = read_receipt(event.fields["outcome"])
            if not receipt.is_clean or len(receipt.cancelled_order_ids) != ORDERS:
                raise NotPlaced(f"not a clean stop of {ORDERS} orders: {receipt}")
            finished_ms.append(event.at_ms)
            here += not receipt.attempts[-1].by.startswith("worker")
    if len(finished_ms) != fleet.instances:
        raise NotPlaced(f"{len(finished_ms)} of {fleet.instances} stops are proven")
    return Stops(
        accounts=fleet.accounts,
        instances=fleet.instances,
        limits_per_minute=context.settings.requests_per_minute,
        gates_closed_s=(max(requested_ms) - min(requested_ms)) / 1000,
        finished_s=tuple(sorted((at_ms - min(requested_ms)) / 1000 for at_ms in finished_ms)),
        wall_s=wall_s,
        by_command=here,
        cpu_s=used,
        worker_mb=pss_mb(pids["worker"]),
        asked=dict(asked),
    )


def _resting(http: requests.Session, simulator_url: str) -> int:
    """Return how many orders of the bench rest, by the exchange's own word."""
    answer = http.get(f"{simulator_url}/sim/orders", timeout=30)
    answer.raise_for_status()
    return sum(order.get("client_id") is not None for order in answer.json())


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
