"""A run belongs to the account it was started on, whatever keys a worker finds in its environment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from runner import loaded
from runner.cleanup import run_cleanup
from runner.context import Context, open_context
from runner.iteration import run_iteration
from runner.receipt import Result
from settings import load
from state.record import Phase
from state.stop_policy import StopPolicy
from tests import factories
from tests.factories import INSTANCE_ID, SLOT, VERSION
from tests.fake_venue import FakeVenue, OneVenue

#: The account of the run; the keys of this process are the demo account's.
ELSEWHERE = "backpack:0123456789"


@pytest.fixture
def venue() -> FakeVenue:
    """The account that this process's keys open, where another instance owns the same slot."""
    venue = FakeVenue()
    venue.rest(factories.open_order("of-another-instance"))
    return venue


@pytest.fixture
def context(
    venue: FakeVenue,
    valkey_server: ValkeyServer,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> Context:
    """A worker's context while the run is on the account `ELSEWHERE`."""
    context = open_context(replace(load({}), state_url=valkey_server.url))
    context = replace(context, venues=OneVenue(venue))
    monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, factories.loaded_instance()))
    context.instances.start(
        INSTANCE_ID, config_version=VERSION, config_json="", slot=SLOT, account=ELSEWHERE, by="test"
    )
    return context


def test_an_iteration_with_the_keys_of_another_account_touches_nothing_there(
    context: Context, venue: FakeVenue
) -> None:
    run_iteration(context, INSTANCE_ID, epoch=1, tick=0, own_task_id="t")
    assert venue.calls == []
    record = context.instances.read(INSTANCE_ID)
    assert record is not None
    assert record.errors == 1
    assert ELSEWHERE in record.last_error


def test_a_cleanup_with_the_keys_of_another_account_touches_nothing_and_is_never_clean(
    context: Context, venue: FakeVenue
) -> None:
    venue.resting.clear()  # an empty list of the wrong account must not pass for a proof
    context.instances.request_stop(INSTANCE_ID, by="test", reason="", policy=StopPolicy())
    outcome = run_cleanup(context, INSTANCE_ID, epoch=1, by="test")
    assert outcome is not None
    assert outcome.result is Result.UNVERIFIED
    assert ELSEWHERE in outcome.problem
    assert venue.calls == []
    record = context.instances.read(INSTANCE_ID)
    assert record is not None
    assert record.phase is Phase.STOPPING
