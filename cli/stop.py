"""`manage.py stop`: close the gate at once, follow the cleanup, print the proof."""

from __future__ import annotations

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.names import configured, require_known
from cli.options import debug_option, json_option, names_argument, output_for, timeout_option
from cli.output import Output
from cli.proof import NOBODY_KNOWS, show_stop, stop_json
from cli.session import Session, open_session, unserved
from cli.stopping import StopOptions, exit_code, stop_instances
from runner.stop_progress import Ending, StopProgress
from state.record import Phase


@click.command(epilog=EPILOG)
@names_argument(required=False)
@click.option(
    "--all", "every", is_flag=True, help="Every instance that runs, is stopping, or failed to stop."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is clean.")
@timeout_option(60.0)
@click.option(
    "--close-position",
    is_flag=True,
    help="Bring the position to zero after the orders are gone; needs a perpetual and exclusive_symbol.",
)
@click.option("--keep-orders", is_flag=True, help="Leave own orders on the book.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the run.")
@click.option(
    "--direct/--no-direct",
    default=True,
    show_default=True,
    help="Run the cleanup in this process when no worker takes it within 2 s.",
)
@json_option
@debug_option
def stop(
    names: tuple[str, ...],
    every: bool,
    wait: bool,
    timeout_s: float,
    close_position: bool,
    keep_orders: bool,
    reason: str,
    direct: bool,
    as_json: bool,
    debug: bool,
) -> ExitCode:
    """Stop instances and prove that none of their orders is left.

    From the request on no new order is allowed; then a worker cancels the instance's own orders, waits until
    nothing can still arrive, and reads two empty lists in a row. A second stop joins the first. Orders of
    other instances and of people are not touched. Ctrl-C ends the watching only.

    \b
    Examples:
      manage.py stop bp_sol_01
      manage.py stop bp_sol_01 bp_eth_01 --timeout 30 --reason "exchange maintenance"
      manage.py stop --all --json
      manage.py stop bp_sol_perp_01 --close-position
    """
    output = output_for(as_json)
    if bool(names) == every:
        raise click.UsageError(tr("name the instances to stop, or use --all: one of the two"))
    if close_position and keep_orders:
        raise click.UsageError(
            tr("--close-position and --keep-orders contradict each other: a kept order may fill")
        )
    session = open_session()
    chosen = _unfinished(session) if every else require_known(session, names)
    options = StopOptions(
        timeout_s=timeout_s,
        wait=wait,
        close_position=close_position,
        keep_orders=keep_orders,
        reason=reason,
        direct=direct,
        debug=debug,
    )
    stops = _stop(session, chosen, options, output)
    code = exit_code(stops)
    if not chosen and _tell_lost(session, output):
        code = ExitCode.NOT_CLEAN
    if as_json:
        output.data({"exit_code": int(code), "instances": [stop_json(stop) for stop in stops]})
    else:
        for one in stops:
            show_stop(output, one)
    if not chosen:
        output.say(tr("no instance runs; nothing to stop"))
    return code


def _stop(
    session: Session, names: tuple[str, ...], options: StopOptions, output: Output
) -> tuple[StopProgress, ...]:
    try:
        stops = stop_instances(session, names, options, output)
    except KeyboardInterrupt:
        raise CliError(
            tr("watching ended; what was requested goes on: run the same command again to follow it"),
            ExitCode.NOT_CLEAN,
        ) from None
    if any(stop.ending is Ending.REQUESTED for stop in stops) and "cleanup" in unserved(session):
        output.warn(
            tr("no worker serves queue {queues}; start one: celery -A tasks worker", queues="cleanup")
        )
    return stops


def _tell_lost(session: Session, output: Output) -> bool:
    """Warn of runs that the state server has lost, whose orders may rest; tell if there are, or may be."""
    # Only here: it is slow to import, and a stop closes the gate first.
    from runner.lost_runs import advice, lost_runs

    known: set[str] = set()
    records = session.instances.read_all(lambda name, _: known.add(name))
    known |= {record.instance_id for record in records}
    lost = lost_runs(
        session.settings, [name for name in configured(session.settings.config_dir) if name not in known]
    )
    for name, epoch in lost.items():
        output.warn(told(advice(name, epoch)) if epoch is not None else f"{name}: {tr(NOBODY_KNOWS)}")
    return bool(lost)


def _unfinished(session: Session) -> tuple[str, ...]:
    """Return all that is not stopped, or about to start again, also those whose record is damaged."""
    damaged: list[str] = []
    records = session.instances.read_all(lambda name, _: damaged.append(name))
    unfinished = (record for record in records if record.phase is not Phase.STOPPED or record.restart)
    return (*damaged, *(record.instance_id for record in unfinished))
