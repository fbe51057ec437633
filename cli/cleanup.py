"""`manage.py cleanup`: run the cleanup of a stopped run again, in this process."""

from __future__ import annotations

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import told, tr
from cli.names import complete_instance, require_known
from cli.options import debug_option, json_option, output_for, timeout_option
from cli.output import Output
from cli.proof import show_stop, stop_json
from cli.session import Session, open_full_context, open_session
from cli.stopping import StopOptions, exit_code, stop_instances
from state.record import Phase, RecordUnreadable


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete_instance)
@timeout_option(60.0)
@json_option
@debug_option
def cleanup(name: str, timeout_s: float, as_json: bool, debug: bool) -> ExitCode:
    """Run the cleanup of an instance that is stopping, or that failed to become clean, by hand.

    It is the same cleanup that workers run, under the same lease; while a worker holds that, this follows it.
    Where the state server has lost the instance, its orders are found by its file and their client order ids.

    \b
    Examples:
      manage.py cleanup bp_sol_01
    """
    output = output_for(as_json)
    session = open_session()
    (chosen,) = require_known(session, [name])
    _make_ready(session, chosen, output, debug=debug)
    options = StopOptions(timeout_s=timeout_s, direct_after_s=0.0, debug=debug)
    stops = stop_instances(session, [chosen], options, output)
    code = exit_code(stops)
    if as_json:
        output.data({"exit_code": int(code), "instances": [stop_json(stop) for stop in stops]})
    else:
        for stop in stops:
            show_stop(output, stop)
    return code


def _make_ready(session: Session, name: str, output: Output, *, debug: bool) -> None:
    """Bring an instance whose state is damaged or lost to where it can be cleaned up."""
    try:
        record = session.instances.read(name)
    except RecordUnreadable as error:
        session.instances.fail(name)
        output.warn(told(error))
        return
    if record is None:
        from runner.lifecycle import fail_unknown

        output.warn(
            tr("the state server knows nothing of {name}; its orders are found by its file", name=name)
        )
        fail_unknown(open_full_context(session.settings, debug=debug), name)
    elif record.phase is Phase.RUNNING:
        raise CliError(
            tr("{name} is running; stop it first: manage.py stop {name}", name=name), ExitCode.BAD_USAGE
        )
