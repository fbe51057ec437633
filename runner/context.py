"""What one process needs to work on instances, opened once and passed down."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from runner.venues import Venues
from settings import Settings
from state.cleanup_leases import CleanupLeases
from state.connection import connect
from state.due import Due
from state.events import Events
from state.instances import Instances
from state.leases import Leases
from state.market_data import MarketData
from state.own_fills import OwnFills
from state.run_changes import RunChanges
from state.scripts import Scripts


@dataclass(frozen=True, kw_only=True)
class Context:
    """Settings, the state server's operations, and the exchanges."""

    settings: Settings
    client: redis.Redis
    scripts: Scripts
    instances: Instances
    leases: Leases
    cleanup_leases: CleanupLeases
    due: Due
    events: Events
    venues: Venues
    market_data: MarketData
    own_fills: OwnFills
    changes: RunChanges


def open_context(settings: Settings) -> Context:
    """Return a context; it connects on first use, so call it after a fork."""
    client = connect(settings.state_url)
    scripts = Scripts(client)
    return Context(
        settings=settings,
        client=client,
        scripts=scripts,
        instances=Instances(client, scripts),
        leases=Leases(
            client,
            scripts,
            lease_ms=settings.lease_ms,
            grace_ms=settings.sweep_grace_ms,
            fence_margin_ms=settings.fence_margin_ms,
        ),
        cleanup_leases=CleanupLeases(
            client,
            scripts,
            lease_ms=settings.cleanup_lease_ms,
            grace_ms=settings.sweep_grace_ms,
            fence_margin_ms=settings.fence_margin_ms,
        ),
        due=Due(client, scripts, grace_ms=settings.sweep_grace_ms),
        events=Events(client),
        venues=Venues(settings, scripts),
        market_data=MarketData(client, scripts),
        own_fills=OwnFills(client, scripts),
        changes=RunChanges(client, scripts),
    )
