"""Each address gets a venue of its own, also where the keys are the same."""

from __future__ import annotations

import fakeredis

from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY
from runner.venues import Venues
from settings import load
from state.scripts import Scripts
from tests import factories

KEYS = {"BACKPACK_KEY": DEMO_API_KEY, "BACKPACK_SECRET": DEMO_SECRET_KEY}


def test_two_instances_with_the_same_keys_at_two_addresses_share_no_venue() -> None:
    venues = Venues(load(KEYS), Scripts(fakeredis.FakeRedis()))
    first, second = (
        factories.instance_config(
            live=True,
            exchange_config={
                "api_key": "${BACKPACK_KEY}",
                "secret_key": "${BACKPACK_SECRET}",
                "base_url": f"http://127.0.0.1:{port}",
            },
        )
        for port in (1, 2)
    )
    assert venues.of(first) is not venues.of(second)
    assert venues.of(first) is venues.of(first)
