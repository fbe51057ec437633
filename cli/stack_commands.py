"""`manage.py up` and `manage.py demo`: the commands around `cli.up` and `cli.demo`."""

from __future__ import annotations

from pathlib import Path

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.options import Seconds, debug_option, json_option, output_for
from settings import load


@click.command(epilog=EPILOG)
@click.option("--web/--no-web", default=True, show_default=True, help="Run the dashboard and the HTTP API.")
@click.option("--flower/--no-flower", default=True, show_default=True, help="Run Flower.")
@click.option("--leave-running", is_flag=True, help="Do not stop instances at the end; their orders stay.")
@debug_option
def up(web: bool, flower: bool, leave_running: bool, debug: bool) -> ExitCode:
    """Run Valkey, the simulated exchange, workers, feed, guard, dashboard, Flower and metrics, until Ctrl-C.

    Other commands in this checkout find the stack by themselves. At the end its instances are stopped, since
    nobody would watch their orders. With BROKER_URL set, that server is used and none is started.

    \b
    Examples:
      manage.py up
      manage.py up --no-flower
    """
    from cli.up import run_up

    return ExitCode(run_up(load(), leave_running=leave_running, flower=flower, web=web))


@click.command(epilog=EPILOG)
@click.option(
    "--seconds",
    type=Seconds(),
    default=30.0,
    show_default=True,
    help="How long the instance runs; Ctrl-C ends it early.",
)
@click.option(
    "--tape",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Replay this recorded stream instead of synthetic flow.",
)
@click.option(
    "--speed",
    type=Seconds(),
    default=1.0,
    show_default=True,
    help="How many times faster the tape runs.",
)
@json_option
@debug_option
def demo(seconds: float, tape: Path | None, speed: float, as_json: bool, debug: bool) -> ExitCode:
    """Run a market maker on the simulated exchange for some seconds, and stop it with proof.

    Brings everything it needs and leaves no process behind. Ends with 0 only if the stop was clean.

    \b
    Examples:
      manage.py demo
      manage.py demo --seconds 10
      manage.py demo --tape ethusdt.jsonl.gz --speed 5
    """
    from cli.demo import DemoOptions, run_demo

    options = DemoOptions(seconds=seconds, tape=tape, speed=speed)
    return run_demo(options, load(), output_for(as_json))
