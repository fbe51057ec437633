"""`manage.py after-restore`: nothing goes on by the word of a backup."""

from __future__ import annotations

import click

from cli.errors import CliError
from cli.exit_codes import EPILOG, ExitCode
from cli.language import tr
from cli.options import debug_option, json_option, output_for
from cli.session import open_full_context
from settings import load


@click.command("after-restore", epilog=EPILOG)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--without-ledger", is_flag=True, help="The ledger is lost, too, or not restored yet.")
@json_option
@debug_option
def after_restore(yes: bool, without_ledger: bool, as_json: bool, debug: bool) -> ExitCode:
    """Distrust a state server whose data came from a backup: run it before any worker.

    Each instance that the backup calls running, or whose record is damaged, is taken for failed, and cleaned
    up by the next worker: its own orders are cancelled, with proof. It may have been stopped since, or
    started anew. Start it again afterwards.

    \b
    Examples:
      manage.py after-restore
      manage.py after-restore --yes --json
    """
    from runner.restored import distrust_restored

    output = output_for(as_json=as_json)
    context = open_full_context(load(), debug=debug)
    readable = context.instances.read_all(lambda *_: None)
    running = [record.instance_id for record in readable if record.phase == "running"]
    names = ", ".join(running) or tr("none")
    question = tr("running, by the backup: {names}. Take these for failed?", names=names)
    if not yes and (as_json or not click.confirm(question)):
        raise CliError(tr("nothing was changed; --yes does it without asking"), ExitCode.BAD_USAGE)
    found = distrust_restored(context, with_ledger=not without_ledger)
    if as_json:
        output.data(
            {
                "instances": [
                    {"instance_id": e.instance_id, "was": e.was, "phase": str(e.phase), "epoch": e.epoch}
                    for e in found
                ]
            }
        )
        return ExitCode.DONE
    for each in found:
        stands = tr(
            "was {was}, is {phase}, run {epoch}",
            was=tr(str(each.was)),
            phase=tr(str(each.phase)),
            epoch=each.epoch,
        )
        output.line(f"{each.instance_id}: {stands}")
    output.say(
        tr("now start the workers; failed ones are cleaned up by them (manage.py list), then can be started")
    )
    return ExitCode.DONE
