"""`manage.py receipt`: the whole story of a stop, and the proof that it ended clean."""

from __future__ import annotations

from typing import Any

import click

from cli.exit_codes import EPILOG, ExitCode
from cli.language import padded, told, tr
from cli.names import complete_instance
from cli.options import debug_option, json_option, output_for
from cli.output import Output, iso
from cli.receipt_search import find_all, find_one
from cli.receipt_view import attempt_lines, headline, receipt_lines
from runner.receipt import Receipt
from runner.receipt_found import Found
from runner.receipt_json import receipt_json

COLUMNS = ("RUN", "RESULT", "ASKED FOR", "LAST CHANGE", "ATTEMPTS", "CANCELLED", "SYMBOL", "BY")


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME", shell_complete=complete_instance)
@click.option("--epoch", type=click.IntRange(min=1), metavar="N", help="Of this run; else of the last one.")
@click.option("--all", "every", is_flag=True, help="List the receipts of all runs instead.")
@json_option
@debug_option
def receipt(name: str, epoch: int | None, every: bool, as_json: bool, debug: bool) -> ExitCode:
    """Show the receipt of a stop: who asked and why, what was done when, what is left, and the proof.

    The newest one is read from the state server, older ones from the ledger; one of the two is enough.
    Ends with 3 while the run is not clean, with 5 when there is no receipt.

    \b
    Examples:
      manage.py receipt bp_sol_01
      manage.py receipt bp_sol_01 --epoch 3 --json
      manage.py receipt bp_sol_01 --all
    """
    if every and epoch is not None:
        raise click.UsageError(tr("--all and --epoch exclude each other"))
    output = output_for(as_json)
    if every:
        return _tell_all(output, name, find_all(output, name, debug=debug))
    found = find_one(output, name, epoch, debug=debug)
    code = _code(found)
    if as_json:
        output.data(
            {
                "exit_code": int(code),
                "instance_id": name,
                "epoch": found.epoch,
                "phase": found.phase or None,
                "source": found.source or None,
                "message": found.message,
                "receipt": receipt_json(found.receipt),
            }
        )
    elif found.receipt is not None:
        _show(output, found, found.receipt)
    else:
        output.line(f"{name}: {told(found.message)}", "bad")
    return code


def _code(found: Found) -> ExitCode:
    if found.receipt is None:
        return ExitCode.NOT_CLEAN if found.is_under_way else ExitCode.NOT_FOUND
    return ExitCode.DONE if found.receipt.is_clean else ExitCode.NOT_CLEAN


def _show(output: Output, found: Found, receipt: Receipt) -> None:
    words, style = headline(receipt, found.phase)
    run = tr("{name}, run {epoch}", name=receipt.instance_id, epoch=receipt.epoch)
    output.line(f"{run}: {words}", style)
    if found.message:
        output.line(f"  {told(found.message)}", "warn")
    for name, text, line_style in receipt_lines(receipt):
        output.line(f"  {padded(name, 22)}{text}", line_style)
    shown = 0
    for attempt in receipt.attempts:
        heading = tr("attempt {number} by {by}", number=attempt.number, by=attempt.by)
        output.line(f"  {heading}", "name")
        for name, text, line_style in attempt_lines(receipt, attempt):
            output.line(f"    {padded(name, 20)}{text}", line_style)
        shown += 1
    missing = receipt.attempt_count - receipt.lost_attempts - shown
    if missing > 0:
        text = tr("{count} attempts between the first and the latest are not kept in full", count=missing)
        output.line(f"  {text}", "dim")


def _tell_all(output: Output, name: str, found: tuple[Receipt, ...]) -> ExitCode:
    code = ExitCode.DONE if found else ExitCode.NOT_FOUND
    if output.as_json:
        output.data(
            {"exit_code": int(code), "instance_id": name, "receipts": [_summary(each) for each in found]}
        )
    elif found:
        output.table(COLUMNS, [_row(each) for each in found])
    else:
        output.line(f"{name}: {tr('no run of it was ever stopped, as far as anybody knows')}", "bad")
    return code


def _summary(receipt: Receipt) -> dict[str, Any]:
    return {
        "epoch": receipt.epoch,
        "result": str(receipt.result),
        "clean": receipt.is_clean,
        "symbol": receipt.symbol,
        "started_at": iso(receipt.started_at_ms or None),
        "requested_at": iso(receipt.requested_at_ms),
        "updated_at": iso(receipt.updated_at_ms),
        "attempts": receipt.attempt_count,
        "cancelled": len(receipt.cancelled_order_ids),
        "by": receipt.by,
    }


def _row(receipt: Receipt) -> list[str]:
    return [
        str(receipt.epoch),
        tr(str(receipt.result)),
        iso(receipt.requested_at_ms) or "?",
        str(iso(receipt.updated_at_ms)),
        str(receipt.attempt_count),
        str(len(receipt.cancelled_order_ids)),
        receipt.symbol or "?",
        receipt.by,
    ]
