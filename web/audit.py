"""Who changed what, from where: one event for each change, and for each that was refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis
import structlog

from web.errors import translated

if TYPE_CHECKING:
    from web.auth import Principal
    from web.services import Services

log = structlog.get_logger(__name__)
#: Of a reason in an event.
MOST_CHARACTERS = 300


@dataclass(kw_only=True)
class Audit:
    """What is to be recorded of a change."""

    epoch: int = 0
    result: str = "done"
    details: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def audited(services: Services, who: Principal, action: str, instance_id: str) -> Iterator[Audit]:
    """Record what is done inside, in the instance's events and in the log; also where it is refused."""
    audit = Audit()
    try:
        yield audit
    except Exception as error:
        refusal = translated(error)
        audit.result = "refused" if refusal.status < 500 else "failed"
        audit.details = {"code": refusal.code, "why": str(refusal)[:MOST_CHARACTERS]}
        try:
            write_audit(services, by=who.by, action=action, instance_id=instance_id, audit=audit)
        except redis.RedisError:
            # What went wrong before says more than this.
            log.warning("refused, and not recorded", action=action, instance=instance_id, by=who.by)
        raise
    write_audit(services, by=who.by, action=action, instance_id=instance_id, audit=audit)


def write_audit(services: Services, *, by: str, action: str, instance_id: str, audit: Audit) -> None:
    """Write one event. Raises `redis.RedisError`."""
    services.context.events.audit(
        instance_id, epoch=audit.epoch, by=by, action=action, result=audit.result, details=audit.details
    )
    log.info("audit", action=action, instance=instance_id, by=by, result=audit.result, **audit.details)
