"""`manage.py demo`: a market maker on a simulated exchange for some seconds, and a stop with proof."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from cli.demo_view import DemoWatch, line, table
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.language import padded, told, tr
from cli.ledger_access import open_books
from cli.output import Output
from cli.pnl import show_all
from cli.proof import show_stop, stop_json
from cli.session import open_full_context, open_session
from cli.stack.processes import StackError
from cli.stack.signals import ending_politely, finishing_first
from cli.stack.stack import FLOWER_USER, ROOT, Stack, StackOptions
from cli.stopping import StopOptions, exit_code, stop_instances
from ledger.queries import counts
from runner.lifecycle import start_instance
from runner.stop_progress import StopProgress
from settings import Settings

CONFIG_DIR = ROOT / "config" / "demo"
#: A maker's fee as market makers agree on, so that spreads that see fills within seconds can pay for it.
ACCOUNTS = ROOT / "config" / "demo_accounts.json"
INSTANCE = "bp_sol_01"
TAPE_INSTANCE = "bp_eth_tape"
#: Recorded prices belong to their market: a tape of another one is refused.
TAPE_SYMBOL = "ETH_USDC"
TAPE_STREAM = "ethusdt"
REFRESH_S = 1.0


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What the user chose."""

    #: How long the instance runs; Ctrl-C ends it early.
    seconds: float = 30.0
    #: A recorded stream to replay instead of synthetic flow.
    tape: Path | None = None
    #: How many times faster than real the tape runs.
    speed: float = 1.0

    @property
    def instance_id(self) -> str:
        """Return the instance that the demo runs."""
        return INSTANCE if self.tape is None else TAPE_INSTANCE


def run_demo(options: DemoOptions, settings: Settings, output: Output) -> ExitCode:
    """Run the demo to its end and return the exit code: 0 only if the stop was clean and nothing is left.

    Raises `CliError` for a tape that cannot be used and for a stack that does not come up.
    """
    if options.tape is not None:
        check_tape(options.tape)
    # With --json, standard output holds the result alone.
    console = Console(highlight=False, markup=False, soft_wrap=True, stderr=output.as_json)
    stack = Stack(_stack_options(options, settings, console))
    with ending_politely(), contextlib.ExitStack() as ending:
        try:
            console.print(tr("starting Valkey, the simulated exchange, two workers, the feed and Flower …"))
            started_s = time.monotonic()
            with stack:
                console.print(tr("ready after {time} s", time=f"{time.monotonic() - started_s:.1f}"))
                console.print(
                    tr(
                        "Flower: {url} (user {user}, password {password})",
                        url=stack.flower_url,
                        user=FLOWER_USER,
                        password=stack.flower_password,
                    )
                )
                stop = _run_instance(stack.settings(), options, console, output, ending)
        except StackError as error:
            raise CliError(told(error)) from error
    return _end(stack, stop, console, output)


def check_tape(path: Path) -> None:
    """Raise `CliError` unless `path` is a recorded stream of the demo's market."""
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as tape:
            first = tape.readline()
        stream = str(json.loads(first.split(" ", 1)[1])["stream"])
    except FileNotFoundError:
        raise CliError(tr("there is no tape {path}", path=path), ExitCode.BAD_USAGE) from None
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise CliError(
            tr(
                "{path} is no tape ({error}): its lines must be {form}",
                path=path,
                error=error,
                form='\'<time, ns> {"stream": ..., "data": ...}\'',
            ),
            ExitCode.BAD_USAGE,
        ) from error
    market = stream.partition("@")[0]
    if market != TAPE_STREAM:
        raise CliError(
            tr(
                "{path} holds {market}; the demo's instance trades {symbol} and needs {stream}",
                path=path,
                market=market,
                symbol=TAPE_SYMBOL,
                stream=TAPE_STREAM,
            ),
            ExitCode.BAD_USAGE,
        )


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
        simulator_arguments=(*arguments, "--accounts", str(ACCOUNTS)),
        flower=True,
        environ=settings.environ,
        tell=lambda sentence: console.print(f"! {told(sentence)}"),
    )


def _run_instance(
    settings: Settings,
    options: DemoOptions,
    console: Console,
    output: Output,
    ending: contextlib.ExitStack,
) -> StopProgress:
    """Start the instance, watch it for a while, and return how its stop went.

    What protects the end from a further Ctrl-C is left to `ending`, until everything is down.
    """
    context = open_full_context(settings)
    with contextlib.closing(context.client):
        started = start_instance(context, options.instance_id, by="demo")
        for warning in started.warnings:
            console.print(f"! {told(warning)}")
        if not started.result.started:
            raise CliError(
                tr(
                    "{name} cannot be started: it is {state}",
                    name=options.instance_id,
                    state=started.result.result,
                )
            )
        console.print(
            tr(
                "started {name}, run {epoch}; it ends after {time} s or with Ctrl-C",
                name=options.instance_id,
                epoch=started.result.epoch,
                time=f"{options.seconds:g}",
            )
        )
        with contextlib.suppress(KeyboardInterrupt):
            _watch(DemoWatch(context, options.instance_id, CONFIG_DIR), options.seconds, console)
        # From here on a further Ctrl-C must not leave orders or processes behind.
        ending.enter_context(finishing_first())
        (stop,) = stop_instances(
            open_session(settings),
            [options.instance_id],
            StopOptions(reason=tr("the demo is over")),
            output,
        )
        if not output.as_json:
            show_stop(output, stop)
            _show_profit(settings, output)
        return stop


def _show_profit(settings: Settings, output: Output) -> None:
    """Print what the ledger has of the run."""
    with open_books(output, settings=settings) as books:
        fills = counts(books.ledger)["fills"]
        text = tr("{count} fills", count=fills) if fills != 1 else tr("1 fill")
        output.line(f"  {padded(tr('in the ledger'), 22)}{text}")
        if fills:
            show_all(output, books)


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


def _end(stack: Stack, stop: StopProgress, console: Console, output: Output) -> ExitCode:
    left = [process.name for process in stack.processes.values() if process.is_alive]
    code = ExitCode.FAILED if left else exit_code([stop])
    if left:
        console.print(tr("still running: {names}", names=", ".join(left)))
    else:
        console.print(
            tr("everything is down, no process is left; logs and journal: {folder}", folder=stack.data_dir)
        )
    if output.as_json:
        output.data({"exit_code": int(code), "processes_left": left, "instances": [stop_json(stop)]})
    return code
