"""`start --force`: nobody starts over orders that a failed run has left without having been shown them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.language import told, tr
from cli.output import Output
from runner.left_orders import NONE, UNKNOWN, ids_shown, what_failed
from state.record import Phase, Record

if TYPE_CHECKING:
    from runner.context import Context
    from state.stop_story import AcceptedLeft

#: How long a cleanup attempt under way is waited for: it ends by itself well before.
ATTEMPT_S = 40.0
LOOK_EVERY_S = 0.1


def accept_what_is_left(
    context: Context, names: Sequence[str], output: Output, *, by: str, accepted: str | None
) -> dict[str, AcceptedLeft]:
    """Return what may be started over, by instance; those that have not failed need nothing.

    `accepted` is the value of ``--accept-orders``; without it a person is asked. Raises `CliError` where what
    is left was not accepted; nothing has changed then.
    """
    if accepted is not None and len(names) != 1:
        raise click.UsageError(tr("--accept-orders is about one instance; start the others without it"))
    found = [_settled(context, name, output) for name in dict.fromkeys(names)]
    failed = [record for record in found if record is not None and record.phase is Phase.FAILED]
    for record in failed:
        if accepted is not None:
            _compare(record, accepted)
        else:
            _ask(record, output)
    from runner.receipt_reports import accept_left

    now_ms = context.instances.now_ms()
    return {record.instance_id: accept_left(record, by=by, now_ms=now_ms) for record in failed}


def _settled(context: Context, name: str, output: Output) -> Record | None:
    """Return the record once no cleanup attempt works on a failed run: over one nothing can be started."""
    deadline_s = time.monotonic() + ATTEMPT_S
    told = False
    while True:
        record = context.instances.read(name)
        if record is None or record.phase is not Phase.FAILED or time.monotonic() > deadline_s:
            return record
        if record.cleanup_until_ms <= context.instances.now_ms():
            return record
        if not told:
            output.say(f"{name}: {tr('waiting for the cleanup attempt that is under way')}")
            told = True
        threading.Event().wait(LOOK_EVERY_S)


def _compare(record: Record, accepted: str) -> None:
    ids = sorted(part.strip() for part in accepted.split(",") if part.strip())
    if not ids:
        raise click.UsageError(
            tr("--accept-orders takes ids, {unknown} or {none}", unknown=UNKNOWN, none=NONE)
        )
    if ",".join(ids) != ids_shown(record.left):
        raise CliError(
            tr(
                "{name}: {what}. That is not what --accept-orders says, so nothing was started; "
                "to accept it: {command}",
                name=record.instance_id,
                what=told(what_failed(record)),
                command=_command(record),
            ),
            ExitCode.NOT_CLEAN,
        )


def _ask(record: Record, output: Output) -> None:
    shown = ids_shown(record.left)
    if output.as_json or not sys.stdin.isatty():
        raise CliError(
            tr(
                "{name}: {what}. A new run is started over that only where it is accepted by name: {command}",
                name=record.instance_id,
                what=told(what_failed(record)),
                command=_command(record),
            ),
            ExitCode.NOT_CLEAN,
        )
    output.say(f"{record.instance_id}: {told(what_failed(record))}", "bad")
    output.say(
        tr("the new run cancels what it can see of them before it places anything; nobody vouches for it")
    )
    answer = shown if shown in {UNKNOWN, NONE} else str(len(shown.split(",")))
    what = repr(answer) if shown in {UNKNOWN, NONE} else tr("how many orders are left")
    question = tr("type {what} to start all the same", what=what)
    typed = str(click.prompt(question, err=True, default="", show_default=False))
    if typed.strip() != answer:
        text = f"{record.instance_id}: {tr('not accepted; nothing was started')}"
        raise CliError(text, ExitCode.NOT_CLEAN)


def _command(record: Record) -> str:
    return f"manage.py start {record.instance_id} --force --accept-orders {ids_shown(record.left)}"
