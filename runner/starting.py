"""Start an instance, and say in words what came of it. The command line and the HTTP API tell the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.context import Context
from runner.left_orders import ids_shown, what_failed
from runner.lifecycle import start_instance
from runner.looks import Looks
from state.instances import StartResult
from state.record import UNKNOWN_LEFT, Phase
from state.stop_story import AcceptedLeft
from wording import joined, said

#: Of a restart.
CALLED_OFF = "somebody has asked for a stop, or for another restart, since; it is not started again"


@dataclass(frozen=True, kw_only=True)
class StartOutcome:
    """How the start of one instance ended."""

    instance_id: str
    #: ``started``, ``already_running``, ``stopping``, ``failed``, ``cleaning``, ``changed`` or
    #: ``called_off`` (a stop came after the restart).
    result: str
    epoch: int
    message: str
    warnings: tuple[str, ...] = ()
    #: A stop has failed, and what it left stands in the way.
    has_failed: bool = False
    #: Own orders that a failed or unfinished stop left; None when nobody knows.
    order_ids_left: tuple[str, ...] | None = ()

    @property
    def is_running(self) -> bool:
        """Tell whether it runs now, started by this or before."""
        return self.result in {"started", "already_running"}


def start_one(
    context: Context,
    name: str,
    *,
    by: str,
    accept: AcceptedLeft | None,
    restart: str = "",
    looks: Looks | None = None,
) -> StartOutcome:
    """Start an instance unless something stands in the way. Raises what `start_instance` raises.

    `restart` is the mark of a restart, which a stop since then calls off.
    """
    started = start_instance(context, name, by=by, accept=accept, restart=restart, looks=looks)
    return replace(_report(context, name, started.result), warnings=started.warnings)


def _report(context: Context, name: str, result: StartResult) -> StartOutcome:
    epoch = result.epoch
    if result.started:
        message = f"started (run {epoch})"
        return StartOutcome(instance_id=name, result="started", epoch=epoch, message=message)
    if result.result == "running":
        message = f"is running already (run {epoch}); nothing was changed"
        return StartOutcome(instance_id=name, result="already_running", epoch=epoch, message=message)
    if result.result == "called_off":
        return StartOutcome(instance_id=name, result="called_off", epoch=epoch, message=CALLED_OFF)
    record = context.instances.read(name)
    if record is None or record.phase not in {Phase.FAILED, Phase.STOPPING}:
        # Else it has ended, or begun, since it was refused.
        message = said("run {epoch} was being stopped; try again", epoch=epoch)
        return StartOutcome(instance_id=name, result=result.result, epoch=epoch, message=message)
    order_ids = None if record.left == UNKNOWN_LEFT else tuple(filter(None, record.left.split(",")))
    return StartOutcome(
        instance_id=name,
        result=result.result,
        has_failed=record.phase is Phase.FAILED,
        epoch=epoch,
        order_ids_left=order_ids,
        message=joined((what_failed(record), _what_to_do(name, result.result, ids_shown(record.left)))),
    )


def _what_to_do(name: str, result: str, shown: str) -> str:
    if result == "stopping":
        return said("wait for it: manage.py stop {name}", name=name)
    if result == "changed":
        return said("that is not what was accepted, so nothing was started")
    if result == "cleaning":
        return said("a cleanup attempt is under way; follow it: manage.py stop {name}", name=name)
    return said(
        "cleanups go on, follow them: manage.py stop {name}; or start over what is left as it is: manage.py "
        "start {name} --force --accept-orders {shown}",
        name=name,
        shown=shown,
    )
