"""What every test gets: a clean environment, and on request a real Valkey server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import structlog

from cli.stack.processes import StackError
from cli.stack.valkey import ValkeyServer
from state.connection import connect

# Not test modules by their names, but they assert; several folders import them.
pytest.register_assert_rewrite("tests.unit.ledger.booking_cases", "tests.unit.ledger.profit_cases")

# How long an example takes says how busy the machine is, and nothing about what is tested. The examples are
# the same each time, so that the same code has the same result; `make fuzz` draws others, with FUZZ_EXAMPLES.
hypothesis.settings.register_profile(
    "busy machine",
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("busy machine")

# A shell starts what it puts into the background deaf to Ctrl-C, and so would be every process of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Variables of the developer's own set-up that must not decide how a test ends.
OURS = ("CLEANBOOK_", "BACKPACK_")
OURS_EXACTLY = ("BROKER_URL", "STATE_URL", "FLOWER_BASIC_AUTH")


def services_required() -> bool:
    """Tell whether a missing server fails the run instead of skipping tests."""
    return os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in tuple(os.environ):
        ours = name.startswith(OURS) or name in OURS_EXACTLY
        if ours and name != "CLEANBOOK_REQUIRE_SERVICES":
            monkeypatch.delenv(name)
    # A stack that runs in this checkout is none of a test's business.
    monkeypatch.setenv("CLEANBOOK_RUN_DIR", str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def _forget_logging() -> Iterator[None]:
    yield
    # A command run in a test sends the log to that test's standard error, which is closed afterwards.
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A real server on a free port, shared by the whole run; a test that kills it starts it again."""
    try:
        server = ValkeyServer(tmp_path_factory.mktemp("valkey"), environ={"PATH": os.environ.get("PATH", "")})
        server.start()
        server.wait_ready()
    except StackError as error:
        if services_required():
            pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {error}")
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def redis_client(valkey_server: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the real server, with nothing in it."""
    with connect(valkey_server.url) as client:
        client.flushall()
        yield client
