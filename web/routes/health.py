"""Whether the process lives, and whether everything is there that instances need."""

from __future__ import annotations

import redis
from fastapi import APIRouter, Response

from ledger.errors import LedgerError
from state.connection import StateError
from state.queues import needed_queues
from state.server import server_report
from web.auth import With
from web.models import Health, Ready
from web.services import Services

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> Health:
    """Tell that the process lives. Needs no login."""
    return Health()


@router.get("/ready", responses={503: {"model": Ready}})
def ready(response: Response, services: With) -> Ready:
    """Tell whether instances can be started, traded and stopped. Needs no login, and tells no addresses."""
    reasons = [*_state(services), *_ledger(services)]
    response.status_code = 503 if reasons else 200
    return Ready(ready=not reasons, reasons=reasons)


def _state(services: Services) -> list[str]:
    context = services.context
    try:
        report = server_report(context.client, vouched=services.settings.state_durability)
        workers = context.events.workers(now_ms=context.instances.now_ms())
    except (redis.RedisError, StateError):
        return ["the state server cannot be used; manage.py doctor says why"]
    served = {queue for worker in workers for queue in worker.queues}
    unserved = [f"no worker serves queue {queue}" for queue in needed_queues(served) if queue not in served]
    return [*(fault.text for fault in report.faults()), *unserved]


def _ledger(services: Services) -> list[str]:
    try:
        services.ledger.open()
    except (LedgerError, redis.RedisError):
        return ["the ledger cannot be used; manage.py ledger says why"]
    return []
