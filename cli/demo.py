"""`manage.py demo`: a market maker on a simulated exchange for some seconds, and a stop with proof."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redis import RedisError
from rich.console import Console
from rich.live import Live

from cli.demo_view import DemoWatch, line, proof, table
from cli.stack.processes import StackError
from cli.stack.signals import ending_politely, finishing_first
from cli.stack.stack import FLOWER_USER, ROOT, Stack, StackOptions
from exchanges.errors import ExchangeError
from runner.config import ConfigError
from runner.context import Context, open_context
from runner.lifecycle import StartRefused, start_instance
from runner.outcome import Outcome
from settings import Settings
from state.connection import StateError
from state.events import Event
from state.instances import StopPolicy

CONFIG_DIR = ROOT / "config" / "demo"
INSTANCE = "bp_sol_01"
TAPE_INSTANCE = "bp_eth_tape"
TAPE_SYMBOL = "ETH_USDC"
#: A stop that takes longer than this is reported as not clean; the usual one takes well under a second.
STOP_TIMEOUT_S = 60.0
REFRESH_S = 1.0

EXIT_CLEAN = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_CLEAN = 3


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What the user chose."""

    #: How long the instance runs; Ctrl-C ends it early.
    seconds: float = 30.0
    #: A recorded stream to replay instead of synthetic flow.
    tape: Path | None = None
    #: How many times faster than real the tape runs.
    speed: float = 1.0


def run_demo(options: DemoOptions, settings: Settings) -> int:
    """Run the demo to its end and return the exit code: 0 only if the stop was clean and nothing is left."""
    console = Console(highlight=False)
    if options.tape is not None and not options.tape.is_file():
        console.print(f"there is no tape {options.tape}; name a recorded stream, or leave TAPE out")
        return EXIT_USAGE
    stack = Stack(_stack_options(options, settings, console))
    instance_id = INSTANCE if options.tape is None else TAPE_INSTANCE
    with ending_politely():
        try:
            console.print("starting Valkey, the simulated exchange, two workers and Flower …")
            started_s = time.monotonic()
            with stack:
                console.print(
                    f"ready after {time.monotonic() - started_s:.1f} s; Flower: {stack.flower_url} "
                    f"(user {FLOWER_USER}, password {stack.flower_password})"
                )
                code = _run_instance(open_context(stack.settings()), instance_id, options.seconds, console)
        except (StackError, ConfigError, StartRefused, StateError, ExchangeError, RedisError) as error:
            console.print(str(error))
            return EXIT_FAILED
        except KeyboardInterrupt:
            console.print("ended before the instance was running")
            return EXIT_FAILED
    return _report_end(stack, code, console)


def _stack_options(options: DemoOptions, settings: Settings, console: Console) -> StackOptions:
    arguments: tuple[str, ...] = ("--flow", "synthetic")
    if options.tape is not None:
        arguments = (
            *("--tape", str(options.tape.resolve()), "--tape-symbol", TAPE_SYMBOL),
            *("--speed", f"{options.speed:g}"),
        )
    return StackOptions(
        run_dir=settings.run_dir,
        data_dir=settings.run_dir / "demo",
        config_dir=CONFIG_DIR,
        fresh=True,
        simulator_arguments=arguments,
        flower=True,
        environ=settings.environ,
        tell=lambda sentence: console.print(f"! {sentence}"),
    )


def _run_instance(context: Context, instance_id: str, seconds: float, console: Console) -> int:
    watch = DemoWatch(context, instance_id, CONFIG_DIR)
    started = start_instance(context, instance_id, by="demo")
    for warning in started.warnings:
        console.print(f"! {warning}")
    console.print(
        f"started {instance_id} (run {started.result.epoch}); it ends after {seconds:g} s or with Ctrl-C"
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(watch, seconds, console)
        # From here on a further Ctrl-C must not leave orders behind.
        with finishing_first():
            return _stop(context, watch, instance_id, console)
    finally:
        context.client.close()


def _watch(watch: DemoWatch, seconds: float, console: Console) -> None:
    end_s = time.monotonic() + seconds
    pause = threading.Event()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while (left_s := end_s - time.monotonic()) > 0:
            state = watch.read()
            if live:
                live.update(table(state, left_s), refresh=True)
            else:
                console.print(line(state))
            if state.phase not in ("running", "stopping"):
                return  # somebody else stopped it, or it stopped itself
            pause.wait(max(0.0, min(REFRESH_S, end_s - time.monotonic())))


def _stop(context: Context, watch: DemoWatch, instance_id: str, console: Console) -> int:
    position = context.events.last_id()
    asked = context.instances.request_stop(instance_id, by="demo", reason="demo over", policy=StopPolicy())
    console.print(f"\n{instance_id}: {asked.result}; the gate is closed, no order can be authorised any more")
    finished = asked.result == "stopped" or _follow(
        context, position, instance_id, lambda event: _print_step(event, asked.at_ms, console)
    )
    record = context.instances.read(instance_id)
    if record is None or not record.outcome:
        console.print(f"no cleanup ended within {STOP_TIMEOUT_S:.0f} s: see {watch.log_hint}")
        return EXIT_NOT_CLEAN
    outcome = Outcome.model_validate_json(record.outcome)
    console.print(proof(outcome, asked.at_ms, watch.orders_on_book()))
    return EXIT_CLEAN if finished and outcome.is_clean else EXIT_NOT_CLEAN


def _follow(context: Context, position: str, instance_id: str, show: Callable[[Event], None]) -> bool:
    """Pass on what happens to the instance until a cleanup has finished; False when that takes too long."""
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        for event in context.events.read(position, block_ms=500):
            position = event.stream_id
            if event.instance_id == instance_id:
                show(event)
                if event.event == "finished":
                    return True
    return False


def _print_step(event: Event, asked_at_ms: int, console: Console) -> None:
    what = event.fields.get("step", event.event).replace("_", " ")
    detail = event.fields.get("detail", "")
    console.print(f"  {event.at_ms - asked_at_ms:>6} ms  {what}{': ' + detail if detail else ''}")


def _report_end(stack: Stack, code: int, console: Console) -> int:
    left = [process.name for process in stack.processes.values() if process.is_alive]
    if left:
        console.print(f"still running: {', '.join(left)}")
        return EXIT_FAILED
    console.print(f"everything is down, no process is left; logs and journal: {stack.data_dir}")
    return code
