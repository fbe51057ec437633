"""`manage.py start`: begin runs; nothing changes on what runs already."""

from __future__ import annotations

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.options import debug_option, json_option, names_argument, output_for
from cli.session import open_full_context, open_session, unserved
from settings import load


@click.command(epilog=EPILOG)
@names_argument(required=True)
@click.option("--force", is_flag=True, help="Start even though the last run failed to become clean.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait up to 3 s for the first iteration."
)
@json_option
@debug_option
def start(names: tuple[str, ...], force: bool, wait: bool, as_json: bool, debug: bool) -> ExitCode:
    """Start instances.

    Everything that can be wrong is found before anything is changed: the file, the keys, the state server,
    the exchange. Starting a running instance changes nothing.

    \b
    Examples:
      manage.py start bp_sol_01
      manage.py start bp_sol_01 bp_eth_01 --json
    """
    from cli.starting import show_starts, start_instances

    output = output_for(as_json)
    settings = load()
    missing = unserved(open_session(settings))
    if missing:
        output.warn(
            f"no worker serves queue {' and '.join(missing)}: nothing runs until one does; "
            "start one: celery -A tasks worker"
        )
    context = open_full_context(settings, debug=debug)
    reports = start_instances(context, names, force=force, wait=wait and "iterate" not in missing)
    show_starts(output, reports)
    code = max(report.code for report in reports)
    if as_json:
        output.data(
            {
                "exit_code": int(code),
                "unserved_queues": list(missing),
                "instances": [report.as_json() for report in reports],
            }
        )
    return code
