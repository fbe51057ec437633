"""What can be told of, and how grave it is unless a rule says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a message is; critical ones pass quiet hours."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Kind(StrEnum):
    """What a rule can be about."""

    STOP_NOT_CLEAN = "stop_not_clean"
    INSTANCE_FAILED = "instance_failed"
    ITERATIONS_FAILING = "iterations_failing"
    RISK_LIMIT = "risk_limit"
    LOSS_LIMIT = "loss_limit"
    RUN_ENDED = "run_ended"
    EXCHANGE_DOWN = "exchange_down"
    FEED_DOWN = "feed_down"
    NO_HEARTBEAT = "no_heartbeat"
    GUARD_ACTED = "guard_acted"
    STATE_SERVER_DOWN = "state_server_down"
    DAILY_SUMMARY = "daily_summary"


@dataclass(frozen=True, kw_only=True)
class Nature:
    """What is usual for a kind."""

    severity: Severity
    #: True: it lasts, is told once, and its end is told too. False: it happens.
    lasts: bool = True
    #: For so long it must have lasted before it is told, s.
    after_s: float = 0.0


NATURES: Mapping[Kind, Nature] = {
    Kind.STOP_NOT_CLEAN: Nature(severity=Severity.CRITICAL),
    Kind.INSTANCE_FAILED: Nature(severity=Severity.CRITICAL, lasts=False),
    Kind.ITERATIONS_FAILING: Nature(severity=Severity.WARNING, after_s=10),
    Kind.RISK_LIMIT: Nature(severity=Severity.WARNING),
    Kind.LOSS_LIMIT: Nature(severity=Severity.CRITICAL, lasts=False),
    Kind.RUN_ENDED: Nature(severity=Severity.INFO, lasts=False),
    Kind.EXCHANGE_DOWN: Nature(severity=Severity.CRITICAL, after_s=15),
    Kind.FEED_DOWN: Nature(severity=Severity.WARNING, after_s=30),
    Kind.NO_HEARTBEAT: Nature(severity=Severity.CRITICAL, after_s=30),
    Kind.GUARD_ACTED: Nature(severity=Severity.CRITICAL, lasts=False),
    Kind.STATE_SERVER_DOWN: Nature(severity=Severity.CRITICAL, after_s=15),
    Kind.DAILY_SUMMARY: Nature(severity=Severity.INFO, lasts=False),
}
