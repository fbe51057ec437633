"""Runs that the ledger knows and the state server does not: its data is gone, or another server answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.checks import Finding, Level
from cli.inventory import Entry
from cli.names import configured
from cli.output import Output
from cli.session import Session


def lost_runs(session: Session, names: Sequence[str]) -> dict[str, int | None]:
    """Return those of `names`, without a record, that have run by the ledger's word and did not end clean.

    With the number of the run; None: nobody knows, the ledger does not answer. Empty where there is none.
    """
    if not names:
        return {}
    from runner.lost_state import last_run
    from runner.receipt import Result

    found: dict[str, int | None] = {}
    for number, name in enumerate(names):
        try:
            run = last_run(session.settings, name)
        except Exception:  # noqa: BLE001 - SQLAlchemy and its drivers raise what they like; doctor says what
            # One that is away keeps each question waiting.
            return {**found, **dict.fromkeys(names[number:])}
        if run is not None and run.outcome != Result.CLEAN:
            found[name] = run.epoch
    return found


def tell_lost_runs(output: Output, session: Session, entries: Sequence[Entry]) -> None:
    """Warn of runs whose state is gone. Looked for only where the state server knows no instance at all."""
    if any(entry.record is not None or entry.damage for entry in entries):
        return
    lost = lost_runs(session, [entry.instance_id for entry in entries])
    for name, epoch in lost.items():
        if epoch is not None:
            output.warn(advice(name, epoch))
    if None in lost.values():
        output.warn(
            "the ledger cannot tell which instances have run before; manage.py doctor says what is wrong"
        )


def records(session: Session) -> Iterator[Finding]:
    """Look at what the state server has of each instance, and what it should have."""
    damaged: dict[str, str] = {}
    found = session.instances.read_all(lambda name, error: damaged.update({name: str(error)}))
    for name, error in damaged.items():
        yield Finding(
            check=f"record {name}", level=Level.FAIL, text=error, advice=f"manage.py cleanup {name}"
        )
    known = {record.instance_id for record in found} | damaged.keys()
    missing = [name for name in configured(session.settings.config_dir) if name not in known]
    for name, epoch in lost_runs(session, missing).items():
        if epoch is None:
            continue  # what is wrong with the ledger is another check's finding
        yield Finding(
            check=f"record {name}",
            level=Level.FAIL,
            text=advice(name, epoch),
            advice=f"manage.py cleanup {name}",
        )


def advice(name: str, epoch: int) -> str:
    """Return what a lost run means and what to do."""
    return (
        f"{name}: the ledger knows run {epoch}, which did not end clean, and the state server knows nothing "
        f"of it, so its orders may rest; manage.py cleanup {name} finds them"
    )
