"""Change what runs. Every change, and every refusal of one, is recorded with who asked and from where."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import redis
from fastapi import APIRouter

from runner.config import load_instance
from runner.left_orders import ids_shown
from runner.lifecycle import stop_policy
from runner.lost_runs import advice, lost_runs
from runner.own_policy import own_policy
from runner.pausing import pause_instance, resume_instance
from runner.receipt_reports import accept_left
from runner.starting import StartOutcome, start_one
from state.connection import StateError
from state.instances import StopResult, new_restart_mark
from state.queues import CLEANUP, ITERATE, needed_queues
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from web.audit import audited
from web.auth import Principal, Who, With
from web.errors import ApiError, translated
from web.gates import in_own_thread
from web.models import (
    Accepted,
    AcceptedAll,
    FieldError,
    PauseRequest,
    RestartRequest,
    StartRequest,
    StopAllRequest,
    StopRequest,
)
from web.routes.instances import InstanceId, require_row
from web.services import Services

router = APIRouter(tags=["control"])
NOT_SAVED = (
    "the state server has not written this to its disk yet, and a crash of it could take it back; "
    "the same request again makes sure"
)


@router.post("/instances/{instance_id}/start", status_code=202)
def start(instance_id: InstanceId, body: StartRequest, who: Who, services: With) -> Accepted:
    """Begin a run. On a running instance it changes nothing.

    Everything that can be wrong is found before anything is changed: the file, the keys, the exchange. After
    a stop that failed to become clean it takes `force` and the ids of all orders left.
    """
    require_row(services, instance_id)
    with audited(services, who, "start", instance_id) as record:
        accept = _accepted(services, who, instance_id, body) if body.force else None
        outcome = start_one(services.context, instance_id, by=who.by, accept=accept)
        record.epoch = outcome.epoch
        if not outcome.is_running:
            raise _not_started(outcome)
        record.result = outcome.result
    return Accepted(
        instance_id=instance_id,
        epoch=outcome.epoch,
        phase="running",
        result=outcome.result,
        warnings=[*outcome.warnings, *_unserved(services, (ITERATE, CLEANUP))],
    )


@router.post("/instances/{instance_id}/stop", status_code=202)
@in_own_thread
def stop(instance_id: InstanceId, body: StopRequest, who: Who, services: With) -> Accepted:
    """Close the gate: when this answers, no new order of the run is permitted. A second stop joins the first.

    Workers then cancel and prove; follow `lifecycle` events, and read the receipt at the end. `policy` is
    about the position, where the configuration's own is not meant: `keep` or `close`.
    """
    require_row(services, instance_id)
    with audited(services, who, "stop", instance_id) as record:
        policy = _policy(services, instance_id, body)
        result = _request_stop(services, who, instance_id, policy, body.reason)
        record.epoch, record.result = result.epoch, result.result
    return _stop_accepted(
        services, instance_id, result, saved=services.context.instances.save_stops([instance_id])
    )


@router.post("/instances/{instance_id}/restart", status_code=202)
def restart(instance_id: InstanceId, body: RestartRequest, who: Who, services: With) -> Accepted:
    """Stop, and start again what is proven clean. The file is checked first.

    This server waits for the proof; should it end before, the instance stays stopped. So it does when anybody
    asks for a stop meanwhile, over HTTP or on the command line.
    """
    require_row(services, instance_id)
    settings = services.settings
    with audited(services, who, "restart", instance_id) as record:
        load_instance(instance_id, settings.config_dir, settings.environ)
        policy = own_policy(services.context.instances.config_json(instance_id))
        mark = new_restart_mark()
        result = _request_stop(services, who, instance_id, policy, body.reason, restart=mark)
        record.epoch, record.result = result.epoch, result.result
        services.restarts.begin(instance_id, epoch=result.epoch, by=who.by, mark=mark)
    return _stop_accepted(services, instance_id, result, saved=True)


@router.post("/instances/{instance_id}/pause", status_code=202)
@in_own_thread
def pause(instance_id: InstanceId, body: PauseRequest, who: Who, services: With) -> Accepted:
    """Withdraw the quotes and keep the state: when this answers, no new order of the run is permitted.

    What it holds stays as it is, and nothing hedges it. `withdrawn_at_ms` of the instance tells when no order
    is left.
    """
    require_row(services, instance_id)
    context = services.context
    with audited(services, who, "pause", instance_id) as record:
        paused = pause_instance(
            context.instances, context.changes, instance_id, by=who.by, reason=body.reason
        )
        record.epoch, record.result = paused.epoch, "paused" if paused.is_new else "joined"
    return Accepted(
        instance_id=instance_id,
        epoch=paused.epoch,
        phase="running",
        result=record.result,
        warnings=[*([] if paused.is_saved else [NOT_SAVED]), *_unserved(services, (ITERATE,))],
    )


@router.post("/instances/{instance_id}/resume", status_code=202)
def resume(instance_id: InstanceId, who: Who, services: With) -> Accepted:
    """Let a paused instance quote again, beginning now."""
    require_row(services, instance_id)
    with audited(services, who, "resume", instance_id) as record:
        result = resume_instance(services.context.changes, instance_id, by=who.by)
        record.epoch, record.result = result.epoch, result.result
    return Accepted(
        instance_id=instance_id,
        epoch=result.epoch,
        phase="running",
        result=result.result,
        warnings=_unserved(services, (ITERATE,)),
    )


@router.post("/stop-all", status_code=202)
@in_own_thread
def stop_all(body: StopAllRequest, who: Who, services: With) -> AcceptedAll:
    """Stop everything that runs, each by its own policy; `confirm` is how many were seen running."""
    rows = services.rows.read(fresh=True).instances
    running = [row.instance_id for row in rows if row.phase == "running"]
    if len(running) != body.confirm:
        message = f"{len(running)} instances are running, not {body.confirm}; look again, then confirm that"
        raise ApiError(409, message, field="confirm")
    # What is damaged may be running, and what is being restarted would run.
    glance = services.rows.fleet.glance()
    chosen = [
        *glance.damaged,
        *(name for name, seen in glance.records.items() if seen.phase is Phase.RUNNING or seen.restart),
    ]
    policies = _own_policies(services, chosen)
    results: dict[str, StopResult] = {}
    failures: dict[str, ApiError] = {}
    for name in chosen:
        try:
            with audited(services, who, "stop", name) as record:
                results[name] = result = _request_stop(services, who, name, policies[name], body.reason)
                record.epoch, record.result = result.epoch, result.result
        except (ApiError, StateError, redis.RedisError) as error:
            # Every gate that can be closed is closed before anything is said of this one.
            if name not in results:
                failures[name] = translated(error)
    saved = services.context.instances.save_stops(list(results))
    if failures:
        whys = "; ".join(f"{name}: {why}" for name, why in failures.items())
        first = next(iter(failures.values()))
        raise ApiError(
            first.status, f"not stopped: {', '.join(failures)}; all others are ({whys})", code=first.code
        )
    return AcceptedAll(
        instances=[_stop_accepted(services, name, result, saved=saved) for name, result in results.items()]
    )


def _accepted(
    services: Services, who: Principal, instance_id: str, body: StartRequest
) -> AcceptedLeft | None:
    """Return what a forced start may begin over, None where nothing has failed."""
    record = services.context.instances.read(instance_id)
    if record is None or record.phase is not Phase.FAILED:
        return None
    ids = ",".join(sorted(name.strip() for name in body.accept_orders if name.strip()))
    shown = ids_shown(record.left)
    if ids != shown:
        message = (
            f"run {record.epoch} never became clean; own orders left: {shown}. A new run starts over that "
            "only where accept_orders names exactly these"
        )
        allowed = FieldError(field="accept_orders", value=ids, message="names something else", allowed=shown)
        raise ApiError(409, message, code="not_accepted", field="accept_orders", errors=[allowed])
    return accept_left(record, by=who.by, now_ms=services.context.instances.now_ms())


def _not_started(outcome: StartOutcome) -> ApiError:
    left = outcome.order_ids_left
    shown = "unknown" if left is None else ",".join(left) or "none"
    error = FieldError(field="accept_orders", value=None, message=outcome.message, allowed=shown)
    return ApiError(409, outcome.message, code=outcome.result, errors=[error] if outcome.has_failed else [])


def _policy(services: Services, instance_id: str, body: StopRequest) -> StopPolicy:
    if body.policy == "close":
        # Whether that is allowed depends on the whole configuration.
        return stop_policy(services.context, instance_id, close_position=True)
    own = own_policy(services.context.instances.config_json(instance_id))
    return StopPolicy(
        cancel_orders=own.cancel_orders, close_position=own.close_position and body.policy != "keep"
    )


def _own_policies(services: Services, names: Iterable[str]) -> dict[str, StopPolicy]:
    chosen = list(names)
    texts = services.rows.fleet.configs(chosen)
    return {name: own_policy(texts.get(name, "")) for name in chosen}


def _request_stop(
    services: Services,
    who: Principal,
    instance_id: str,
    policy: StopPolicy,
    reason: str,
    *,
    restart: str = "",
) -> StopResult:
    result = services.context.instances.request_stop(
        instance_id, by=who.by, reason=reason, policy=policy, restart=restart
    )
    if result.epoch == 0:
        lost = lost_runs(services.settings, [instance_id])
        epoch = lost.get(instance_id)
        if epoch is not None:
            raise ApiError(409, advice(instance_id, epoch), code="lost")
        unknown = "; the ledger, which might know a run of it, does not answer" if lost else ""
        raise ApiError(409, f"{instance_id} was never started{unknown}", code="never_started")
    return result


def _stop_accepted(services: Services, instance_id: str, result: StopResult, *, saved: bool) -> Accepted:
    is_over = result.result == "stopped"
    return Accepted(
        instance_id=instance_id,
        epoch=result.epoch,
        phase="stopped" if is_over else "failed" if result.result == "failed" else "stopping",
        result="already_stopped" if is_over else result.result,
        warnings=[*([] if saved else [NOT_SAVED]), *([] if is_over else _unserved(services, (CLEANUP,)))],
    )


def _unserved(services: Services, kinds: Collection[str]) -> list[str]:
    workers = services.context.events.workers(now_ms=services.context.instances.now_ms())
    served = {queue for worker in workers for queue in worker.queues}
    return [
        f"no worker serves queue {queue}: start one, celery -A tasks worker"
        for queue in needed_queues(served)
        if queue not in served and (CLEANUP if queue == CLEANUP else ITERATE) in kinds
    ]
