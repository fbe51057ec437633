"""Where receipts are: the newest in the state server's record, all in the ledger. One of the two will do."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from cli.errors import CliError, explain
from cli.exit_codes import ExitCode
from cli.language import told, tr
from cli.ledger_access import open_books
from cli.names import configured, unknown_name
from cli.output import Output
from cli.session import Session, open_session
from ledger.errors import LedgerError
from ledger.glances import instance_ids
from ledger.receipts import receipts
from runner.kept_receipts import receipt_in
from runner.receipt import Receipt
from runner.receipt_found import Found, found_in_record
from state.record import Record, RecordUnreadable


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What the state server says of an instance; `record` None: it was never started there."""

    record: Record | None
    is_away: bool = False

    @property
    def receipt(self) -> Receipt | None:
        return receipt_in(self.record.outcome) if self.record else None


def find_one(output: Output, name: str, epoch: int | None, *, debug: bool) -> Found:
    """Return the receipt of a run, of the last one that was stopped without `epoch`.

    Raises `CliError` for a name nobody knows, and where neither state server nor ledger can be read.
    """
    session = open_session()
    asked = _ask_state(output, session, name)
    here = found_in_record(asked.record, epoch)
    if here is not None:
        return here
    found = _of_ledger(output, session, asked, name, epoch, debug=debug)
    record = asked.record
    if found is None:
        which = tr("run {epoch}", epoch=epoch) if epoch is not None else tr("any run")
        text = tr("there is no receipt of {which}", which=which)
        if record and record.epoch:
            text += tr("; run {epoch} is {phase}", epoch=record.epoch, phase=tr(str(record.phase)))
        return Found(epoch=epoch or 0, message=text)
    goes_on = record is not None and epoch is None and record.epoch > found.epoch
    return Found(
        receipt=found,
        epoch=found.epoch,
        source="ledger",
        message=tr(
            "run {epoch} is {phase}; this is the stop before it",
            epoch=record.epoch,
            phase=tr(str(record.phase)),
        )
        if record and goes_on
        else "",
    )


def find_all(output: Output, name: str, *, debug: bool) -> tuple[Receipt, ...]:
    """Return the receipts of every run, newest first. Raises as `find_one` does."""
    session = open_session()
    asked = _ask_state(output, session, name)
    found = {(each.epoch, each.started_at_ms): each for each in _ledgers(output, session, asked, name, debug)}
    newest = asked.receipt
    if newest is not None:
        found[newest.epoch, newest.started_at_ms] = newest
    return tuple(sorted(found.values(), key=lambda each: each.updated_at_ms, reverse=True))


def _ask_state(output: Output, session: Session, name: str) -> _Record:
    try:
        return _Record(record=session.instances.read(name))
    except (redis.ConnectionError, redis.TimeoutError) as error:
        output.warn(
            tr("the state server does not answer ({error}); only what the ledger has is shown", error=error)
        )
        return _Record(record=None, is_away=True)
    except RecordUnreadable as error:
        output.warn(tr("{error}; only what the ledger has is shown", error=told(error)))
        return _Record(record=None)


def _of_ledger(
    output: Output, session: Session, asked: _Record, name: str, epoch: int | None, *, debug: bool
) -> Receipt | None:
    found = _ledgers(output, session, asked, name, debug, epoch=epoch, limit=1)
    return found[0] if found else None


def _ledgers(
    output: Output,
    session: Session,
    asked: _Record,
    name: str,
    debug: bool,
    *,
    epoch: int | None = None,
    limit: int | None = None,
) -> tuple[Receipt, ...]:
    try:
        with open_books(output, debug=debug, settings=session.settings) as books:
            found = receipts(books.ledger, instance_id=name, epoch=epoch, limit=limit)
            known = {*configured(session.settings.config_dir)} | instance_ids(books.ledger)
    except LedgerError as error:
        problem = explain(error).message
        if asked.is_away:
            raise CliError(
                tr("neither state server nor ledger can be read: {problem}", problem=problem),
                ExitCode.UNREACHABLE,
            ) from error
        output.warn(
            tr("the ledger cannot be read, so older receipts are missing: {problem}", problem=problem)
        )
        return ()
    if not found and asked.record is None and name not in known:
        raise CliError(unknown_name(name, known), ExitCode.BAD_USAGE)
    read = (receipt_in(each.receipt) for each in found)
    return tuple(each for each in read if each is not None)
