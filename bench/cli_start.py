"""How long commands take to start, against a Python that does nothing.

    python bench/cli_start.py [--quick] [--rounds N]

Every round runs each command once, one after the other, so that all meet the same load. The state server is
a real one on loopback, there is no worker: what is measured is the command itself. Progress goes to standard
error; standard output ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import median, table  # noqa: E402 - the checkout is put on the path first
from bench.progress import say  # noqa: E402
from cli.stack.stack import Stack, StackOptions  # noqa: E402
from runner.access import access  # noqa: E402
from runner.config import load_instance, version_of  # noqa: E402
from runner.context import open_context  # noqa: E402
from state.client_ids import allocate_slot  # noqa: E402

INSTANCE = "bp_sol_01"
CONFIG = {
    "metadata": {
        "instance_id": INSTANCE,
        "exchange": "backpack",
        "symbol": "SOL_USDC",
        "market_type": "spot",
        "strategy": "standard",
    },
    "exchange_config": {},
    "strategy_config": {"spread": "1", "max_orders": 3, "quantity": "0.5", "interval": 60},
    "live": False,
}
NOTHING = "python -c pass"
MANAGE = str(ROOT / "manage.py")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    NOTHING: ("-c", "pass"),
    "the state server's client alone": ("-c", "import redis"),
    "manage.py --help": (MANAGE, "--help"),
    # The first one closes the gate, the others join it.
    "manage.py stop NAME --no-wait": (MANAGE, "stop", INSTANCE, "--no-wait"),
    "manage.py status NAME": (MANAGE, "status", INSTANCE),
    "manage.py list": (MANAGE, "list"),
}


def main() -> int:
    """Measure, print a table, and end with one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    load_before = os.getloadavg()[0]
    wall_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    cpu_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder, _stack(Path(folder)) as stack:
        _begin_run(stack)
        environ = dict(stack.settings().environ)
        # The first of each writes the bytecode.
        for number in range(-1, rounds):
            for name, arguments in COMMANDS.items():
                wall, cpu = _run(arguments, environ)
                if number >= 0:
                    wall_ms[name].append(wall)
                    cpu_ms[name].append(cpu)
            say(f"round {number + 1}/{rounds}")
    print(table(wall_ms))
    nothing_ms = median(cpu_ms[NOTHING])
    print(
        json.dumps(
            {
                "bench": "cli_start",
                "rounds": rounds,
                "load_1_min": [round(load_before, 2), round(os.getloadavg()[0], 2)],
                "wall_p50_ms": {name: round(median(values), 1) for name, values in wall_ms.items()},
                "cpu_p50_ms": {name: round(median(values), 1) for name, values in cpu_ms.items()},
                "cpu_ratio_to_nothing": {
                    name: round(median(values) / nothing_ms, 1) for name, values in cpu_ms.items()
                },
            }
        )
    )
    return 0


def _stack(folder: Path) -> Stack:
    config_dir = folder / "config"
    config_dir.mkdir()
    (config_dir / f"{INSTANCE}.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return Stack(
        StackOptions(
            run_dir=folder, config_dir=config_dir, fresh=True, simulator=False, workers=False, feed=False
        )
    )


def _begin_run(stack: Stack) -> None:
    """Write the instance down as running; nobody runs it."""
    context = open_context(stack.settings())
    config = load_instance(INSTANCE, stack.options.config_dir, context.settings.environ).config
    account = access(config, context.settings).account
    context.instances.start(
        INSTANCE,
        config_version=version_of(config),
        config_json=config.to_json(),
        slot=allocate_slot(context.scripts, account, INSTANCE),
        account=account,
        by="bench",
    )


def _run(arguments: tuple[str, ...], environ: Mapping[str, str]) -> tuple[float, float]:
    """Run Python to its end and return wall and CPU time, ms. Raises `CalledProcessError`."""
    before, began_s = _children_s(), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=dict(environ), capture_output=True, timeout=60, check=True
    )
    return (time.perf_counter() - began_s) * 1000, (_children_s() - before) * 1000


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
