"""`manage.py restart`: a proven stop, then a start."""

from __future__ import annotations

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.names import require_known
from cli.options import debug_option, json_option, names_argument, output_for, timeout_option
from cli.proof import show_stop, stop_json
from cli.session import open_full_context, open_session
from state.instances import new_restart_mark


@click.command(epilog=EPILOG)
@names_argument(required=True)
@timeout_option(60.0)
@click.option(
    "--reason", default="restart", metavar="TEXT", show_default=True, help="Why; kept with the run."
)
@json_option
@debug_option
def restart(names: tuple[str, ...], timeout_s: float, reason: str, as_json: bool, debug: bool) -> ExitCode:
    """Stop instances, and start those again that are proven clean.

    The files are checked first: with a mistake in one, nothing is stopped. What somebody asks to stop
    meanwhile is not started again.

    \b
    Examples:
      manage.py restart bp_sol_01
    """
    from cli.starting import show_starts, start_instances
    from cli.stopping import StopOptions, exit_code, stop_instances
    from runner.config import load_instance

    output = output_for(as_json)
    session = open_session()
    chosen = require_known(session, names)
    for name in chosen:
        load_instance(name, session.settings.config_dir, session.settings.environ)
    marks = {name: new_restart_mark() for name in chosen}
    options = StopOptions(timeout_s=timeout_s, reason=reason, debug=debug, restarts=marks)
    try:
        stops = stop_instances(session, chosen, options, output)
    except KeyboardInterrupt:
        text = tr("interrupted; the stop goes on, nothing was started")
        raise CliError(text, ExitCode.NOT_CLEAN) from None
    if not as_json:
        for stop in stops:
            show_stop(output, stop)
    code = exit_code(stops)
    clean = [stop.instance_id for stop in stops if exit_code([stop]) is ExitCode.DONE]
    reports = start_instances(
        open_full_context(session.settings, debug=debug), clean, wait=True, restarts=marks
    )
    show_starts(output, reports)
    code = max(code, *(report.code for report in reports)) if reports else code
    if as_json:
        output.data(
            {
                "exit_code": int(code),
                "stopped": [stop_json(stop) for stop in stops],
                "started": [report.as_json() for report in reports],
            }
        )
    return code
