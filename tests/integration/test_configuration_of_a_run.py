"""What a process remembers of configurations: never one run's under the name of another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from runner import loaded
from runner.config import InstanceConfig, version_of
from runner.context import Context, open_context
from runner.loaded import load_running
from settings import load
from state.connection import StateError
from tests import factories
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT


@pytest.fixture
def context(
    valkey_server: ValkeyServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Context:
    """A worker's context."""
    monkeypatch.setattr(loaded, "_known", {})
    return open_context(replace(load({}), state_url=valkey_server.url))


def start(context: Context, config: InstanceConfig) -> str:
    version = version_of(config)
    context.instances.start(
        INSTANCE_ID,
        config_version=version,
        config_json=config.to_json(),
        slot=SLOT,
        account=ACCOUNT,
        by="test",
    )
    return version


def test_a_task_that_slept_through_a_restart_does_not_remember_the_new_run_as_the_old(
    context: Context,
) -> None:
    old = factories.instance_config()
    new = old.model_copy(update={"metadata": old.metadata.model_copy(update={"symbol": "ETH_USDC"})})
    # Given a task that has claimed, and reads its configuration after the next run has begun
    old_version = version_of(old)
    new_version = start(context, new)
    # Then it gets none, rather than the other run's
    with pytest.raises(StateError, match="another run"):
        load_running(context, INSTANCE_ID, old_version, epoch=0)
    # And a later run of the old configuration trades the old symbol
    assert load_running(context, INSTANCE_ID, new_version, epoch=1).config.metadata.symbol == "ETH_USDC"
    context.client.flushdb()
    start(context, old)
    assert (
        load_running(context, INSTANCE_ID, old_version, epoch=1).config.metadata.symbol == old.metadata.symbol
    )
