"""`manage.py start`: begin runs; nothing changes on what runs already."""

from __future__ import annotations

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.options import debug_option, json_option, names_argument, output_for
from cli.session import open_full_context, open_session, unserved, who
from settings import load


@click.command(epilog=EPILOG)
@names_argument(required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Start over what a failed stop has left; a person is asked, a script needs --accept-orders.",
)
@click.option(
    "--accept-orders",
    "accepted",
    metavar="IDS",
    help="With --force: the ids of all orders left, comma separated, as refusal and receipt show them; "
    "'unknown' where nobody knows them, 'none' where a position is left.",
)
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait up to 3 s for the first iteration."
)
@json_option
@debug_option
def start(
    names: tuple[str, ...], force: bool, accepted: str | None, wait: bool, as_json: bool, debug: bool
) -> ExitCode:
    """Start instances.

    Everything that can be wrong is found before anything is changed: the file, the keys, the state server,
    the exchange. Starting a running instance changes nothing. A run that failed to become clean is started
    over only with --force, by who has seen what it left; the new run cancels what it sees of that first.

    \b
    Examples:
      manage.py start bp_sol_01
      manage.py start bp_sol_01 bp_eth_01 --json
      manage.py start bp_sol_01 --force --accept-orders 4711,4712
    """
    from cli.forcing import accept_what_is_left
    from cli.starting import show_starts, start_instances

    if accepted is not None and not force:
        raise click.UsageError(tr("--accept-orders goes with --force"))
    output = output_for(as_json)
    settings = load()
    missing = unserved(open_session(settings))
    if missing:
        output.warn(
            tr(
                "no worker serves queue {queues}: nothing runs until one does; "
                "start one: celery -A tasks worker, or manage.py up",
                queues=tr(" and ").join(missing),
            )
        )
    context = open_full_context(settings, debug=debug)
    accept = accept_what_is_left(context, names, output, by=who(), accepted=accepted) if force else {}
    reports = start_instances(context, names, accept=accept, wait=wait and "iterate" not in missing)
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
