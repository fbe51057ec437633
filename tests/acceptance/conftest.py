"""One stack for all acceptance tests: real Valkey, real workers, the simulated exchange, on loopback."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.stack.stack import Stack, StackOptions
from cli.stack.valkey import ServerNotFound
from runner.context import Context, open_context
from state import keys
from tests.acceptance.command import Command, command_for, plain_environ
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import World, eventually


def public_key_of(secret: str) -> str:
    """Return the public key of a secret, both base64."""
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret))
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


#: Stands for real money: the simulated exchange's account `other`, whose private key is 32 bytes of 0x02.
LIVE_SECRET = base64.b64encode(bytes([2]) * 32).decode()
LIVE_KEY = public_key_of(LIVE_SECRET)
#: A state that was lost is waited for so long: as short as the windows of the tests allow.
SHORT_LOSS = {"CLEANBOOK_LONGEST_WINDOW_MS": "10000"}
LIVE_KEYS = {"BACKPACK_KEY": LIVE_KEY, "BACKPACK_SECRET": LIVE_SECRET}


def skip_or_fail(error: ServerNotFound) -> NoReturn:
    """End a test that has no server to run on."""
    if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
    pytest.skip(str(error))


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
        environ=plain_environ() | LIVE_KEYS | SHORT_LOSS,
    )
    stack = Stack(options)
    try:
        stack.start()
    except ServerNotFound as error:
        skip_or_fail(error)
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


@pytest.fixture
def manage(stack: Stack, config_dir: Path) -> Command:
    """`python manage.py` in a terminal of the checkout in which the stack runs."""
    return command_for(stack.options.run_dir, config_dir, **LIVE_KEYS)
