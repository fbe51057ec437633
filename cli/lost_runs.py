"""Runs that the ledger knows and the state server does not: its data is gone, or another server answers."""

from __future__ import annotations

from collections.abc import Sequence

from cli.inventory import Entry
from cli.language import told, tr
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
            output.warn(told(advice(name, epoch)))
    if None in lost.values():
        output.warn(
            tr("the ledger cannot tell which instances have run before; manage.py doctor says what is wrong")
        )
