"""An exposition by the settings of a process."""

from __future__ import annotations

from monitoring.exposition import Exposition
from monitoring.fleet import FleetReader
from settings import Settings
from state.budget import BudgetLimits
from state.connection import connect_impatiently

#: Of one question to the state server: a scrape is given up after some seconds.
ANSWER_S = 2.0


def open_exposition(settings: Settings, *, fleet: bool = True) -> Exposition:
    """Return what tells of this host's processes and, with `fleet`, of all instances; it connects on use."""
    return Exposition(
        settings.metrics_dir,
        _fleet(settings) if fleet else None,
        most_instances=settings.metrics_instances,
    )


def _fleet(settings: Settings) -> FleetReader:
    client = connect_impatiently(settings.state_url, timeout_s=ANSWER_S)
    is_other = settings.broker_url != settings.state_url
    broker = connect_impatiently(settings.broker_url, timeout_s=ANSWER_S) if is_other else client
    limits = BudgetLimits.of(settings.requests_per_minute)
    return FleetReader(client, broker, burst=limits.burst, requests_per_minute=limits.per_minute)
