"""Runs that the ledger knows and the state server does not: its data is gone, or another server answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.checks import Finding, Level
from cli.inventory import Entry
from cli.names import configured
from cli.output import Output
from cli.session import Session
from runner.lost_runs import advice, lost_runs


def tell_lost_runs(output: Output, session: Session, entries: Sequence[Entry]) -> None:
    """Warn of runs whose state is gone. Looked for only where the state server knows no instance at all."""
    if any(entry.record is not None or entry.damage for entry in entries):
        return
    lost = lost_runs(session.settings, [entry.instance_id for entry in entries])
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
    for name, epoch in lost_runs(session.settings, missing).items():
        if epoch is None:
            continue  # what is wrong with the ledger is another check's finding
        yield Finding(
            check=f"record {name}",
            level=Level.FAIL,
            text=advice(name, epoch),
            advice=f"manage.py cleanup {name}",
        )
