"""A stack of a test's own, where the shared one will not do: other keys, another server, other rights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from cli.stack.stack import Stack, StackOptions
from cli.stack.valkey import ServerNotFound
from runner.context import open_context
from tests.acceptance.command import plain_environ
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import World
from tests.conftest import services_required


def options_for(directory: Path, environ: Mapping[str, str]) -> StackOptions:
    """Return how the shared stack is set up, for another directory and with more in the environment."""
    config_dir = directory / "instances"
    config_dir.mkdir()
    return StackOptions(
        run_dir=directory / "stack",
        config_dir=config_dir,
        simulator_arguments=("--flow", "still"),
        environ=plain_environ() | dict(environ),
    )


@contextmanager
def own_world(
    directory: Path,
    environ: Mapping[str, str],
    *,
    make: Callable[[StackOptions], Stack] = Stack,
    **options: bool,
) -> Iterator[World]:
    """Run a whole stack for as long as the block; nothing of it is left afterwards."""
    stack = make(replace(options_for(directory, environ), **options))  # type: ignore[arg-type]
    try:
        stack.start()
    except ServerNotFound as error:
        missing(str(error))
    try:
        context = open_context(stack.settings())
        exchange = SimulatedExchange(stack.simulator_url)
        world = World(stack=stack, context=context, exchange=exchange, config_dir=stack.options.config_dir)
        try:
            yield world
            world.close()
        finally:
            exchange.close()
            context.client.close()
    finally:
        stack.stop()


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing."""
    if services_required():
        pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {what}")
    pytest.skip(what)
