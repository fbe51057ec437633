"""What is done with a state server whose data came from a backup: it has forgotten, and does not know it."""

from __future__ import annotations

from dataclasses import dataclass

from runner.context import Context
from runner.lost_state import last_run
from runner.place import reach_ms
from state import keys
from state.instances import Phase

WHY = "the state server's data was restored from a backup"
#: Half of a level's client order ids: those of before the loss are far away.
LEFT_OUT = 512


@dataclass(frozen=True, kw_only=True)
class Distrusted:
    """What became of one instance."""

    instance_id: str
    #: As the backup had it.
    was: Phase
    phase: Phase
    epoch: int


def distrust_restored(context: Context, *, with_ledger: bool = True) -> tuple[Distrusted, ...]:
    """Take every instance that the backup calls running for failed, so that it is cleaned up.

    What was stopped since, or started, the backup does not know: nothing goes on by its word. The numbers of
    runs go on behind those of the ledger, unless it is to be left alone. Raises `LedgerError`, `StateError`.
    """
    found = []
    for record in context.instances.read_all():
        name = record.instance_id
        run = last_run(context.settings, name) if with_ledger else None
        newest = max(record.epoch, run.epoch if run else 0)
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
            Distrusted(instance_id=name, was=record.phase, phase=Phase(str(phase)), epoch=int(epoch))
        )
    return tuple(found)
