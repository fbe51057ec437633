"""Runs that the ledger knows and the state server does not: its data is gone, or another server answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from settings import Settings
from wording import said


def lost_runs(settings: Settings, names: Sequence[str]) -> dict[str, int | None]:
    """Return those of `names`, without a record, that have run by the ledger's word and did not end clean.

    With the number of the run; None: nobody knows, the ledger does not answer. Empty where there is none.
    """
    if not names:
        return {}
    from runner.lost_state import LastRuns
    from runner.receipt import Result

    found: dict[str, int | None] = {}
    with closing(LastRuns(settings)) as last_runs:
        for number, name in enumerate(names):
            try:
                run = last_runs.of(name)
            except Exception:  # noqa: BLE001 - SQLAlchemy and its drivers raise what they like; doctor says what
                # One that is away keeps each question waiting.
                return {**found, **dict.fromkeys(names[number:])}
            if run is not None and run.outcome != Result.CLEAN:
                found[name] = run.epoch
    return found


def advice(name: str, epoch: int) -> str:
    """Return what a lost run means and what to do."""
    return said(
        "{name}: the ledger knows run {epoch}, which did not end clean, and the state server knows nothing "
        "of it, so its orders may rest; manage.py cleanup {name} finds them",
        name=name,
        epoch=epoch,
    )
