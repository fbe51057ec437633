"""What is done with a state server whose data came from a backup: it has forgotten, and does not know it."""

from __future__ import annotations

from dataclasses import dataclass

from runner.context import Context
from runner.lost_state import last_run
from runner.place import reach_ms
from state import keys
from state.record import Phase

WHY = "the state server's data was restored from a backup"
#: Half of a level's client order ids: those of before the loss are far away.
LEFT_OUT = 512
#: What stands for the phase of a record that cannot be read.
DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class Distrusted:
    """What became of one instance."""

    instance_id: str
    #: The phase as the backup had it, or `DAMAGED`.
    was: str
    phase: Phase
    epoch: int


def distrust_restored(context: Context, *, with_ledger: bool = True) -> tuple[Distrusted, ...]:
    """Take every instance that the backup calls running, or damaged, for failed, so that it is cleaned up.

    What was stopped since, or started, the backup does not know: nothing goes on by its word. The numbers of
    runs go on behind those of the ledger, unless it is to be left alone. Raises `LedgerError`, `StateError`.
    """
    damaged = _fail_damaged(context, with_ledger)
    found = []
    for record in context.instances.read_all():
        name = record.instance_id
        newest = max(record.epoch, _told_by_ledger(context, name, with_ledger))
        if record.phase is Phase.RUNNING:
            context.instances.fail(
                name,
                why=WHY,
                epoch=record.epoch,
                phase=Phase.RUNNING,
                least_epoch=newest,
                reach_ms=reach_ms(context, name),
            )
        phase, epoch = context.scripts.call(
            "restored", [keys.record(name), keys.generations(name)], [newest, LEFT_OUT]
        )
        found.append(
            Distrusted(
                instance_id=name,
                was=DAMAGED if name in damaged else record.phase,
                phase=Phase(str(phase)),
                epoch=int(epoch),
            )
        )
    return tuple(found)


def _fail_damaged(context: Context, with_ledger: bool) -> frozenset[str]:
    """Take those whose record cannot be read for failed; return them.

    Workers do so as well, but must not run before the others are distrusted.
    """
    damaged: list[str] = []
    context.instances.read_all(lambda name, _: damaged.append(name))
    for name in damaged:
        newest = _told_by_ledger(context, name, with_ledger)
        context.instances.fail(name, least_epoch=newest, reach_ms=reach_ms(context, name))
    return frozenset(damaged)


def _told_by_ledger(context: Context, instance_id: str, with_ledger: bool) -> int:
    run = last_run(context.settings, instance_id) if with_ledger else None
    return run.epoch if run else 0
