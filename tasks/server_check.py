"""What a worker tells about its state server when it begins, and when that has been away."""

from __future__ import annotations

import redis
import structlog

from state.connection import StateError
from state.durability import Keeps
from state.server import server_report

log = structlog.get_logger(__name__)


def tell_of_server(client: redis.Redis, vouched: str) -> None:
    """Log what is wrong with the state server. Nothing is refused here: what runs has to be stopped clean."""
    try:
        report = server_report(client, vouched=vouched)
    except StateError as error:
        log.error("state server cannot be checked", error=str(error))
        return
    for fault in report.faults():
        log.error("state server must not be traded on", why=fault.text, advice=fault.advice)
    if report.keeps is Keeps.UNSURE:
        log.error("state server may take back a stop that was called clean", why=report.why_unsure)
    elif report.keeps is Keeps.EVERYSEC:
        log.warning(
            "state server may lose its last second: starts and stops wait for its disk",
            fsync=report.fsync or "not told",
            replicas=report.replicas,
        )
