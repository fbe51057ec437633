"""One stack for all acceptance tests: real Valkey, real workers, the simulated exchange, on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.stack import Stack, StackOptions
from cli.stack.valkey import ServerNotFound
from runner.context import Context, open_context
from state import keys
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import World, eventually

#: What a child needs to run at all; nothing of the developer's own set-up.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


@pytest.fixture(scope="session")
def config_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the instance files of all tests are."""
    return tmp_path_factory.mktemp("instances")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, config_dir: Path) -> Iterator[Stack]:
    """Everything running and supervised; shared, since bringing it up takes seconds."""
    options = StackOptions(
        run_dir=tmp_path_factory.mktemp("stack"),
        config_dir=config_dir,
        # A market that stands still fills nothing, so that a test knows which orders rest.
        simulator_arguments=("--flow", "still"),
        environ={name: os.environ[name] for name in INHERITED if name in os.environ},
    )
    stack = Stack(options)
    try:
        stack.start()
    except ServerNotFound as error:
        if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def context(stack: Stack) -> Iterator[Context]:
    """The state server and the exchange as a process of ours sees them."""
    context = open_context(stack.settings())
    yield context
    context.client.close()


@pytest.fixture
def world(stack: Stack, context: Context, config_dir: Path) -> Iterator[World]:
    """The stack in good health, for one test."""
    exchange = SimulatedExchange(stack.simulator_url)
    world = World(stack=stack, context=context, exchange=exchange, config_dir=config_dir)
    eventually(lambda: world.serving_queues() >= {"iterate", "cleanup"}, what="a worker for each queue")
    # One test's appetite for requests must not slow down the next.
    budgets = tuple(context.client.scan_iter(keys.budget("*")))
    if budgets:
        context.client.delete(*budgets)
    yield world
    world.close()
    exchange.close()
