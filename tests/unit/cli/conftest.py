"""A command line in this process, against an empty real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from state.cleanup_leases import CleanupLeases
from state.events import Events
from state.instances import Instances
from state.leases import Leases
from state.scripts import Scripts
from tests.unit.cli.command_line import Bench
from tests.unit.cli.ledger_bench import LedgerBench


@pytest.fixture
def bench(
    valkey_server: ValkeyServer,
    redis_client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Bench]:
    """A command line whose state server is empty and whose folder of instance files, too."""
    monkeypatch.setenv("BROKER_URL", valkey_server.url)
    monkeypatch.setenv("CLEANBOOK_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("CLEANBOOK_CLEANUP_LEASE_MS", "2000")
    scripts = Scripts(redis_client)
    found = Bench(
        client=redis_client,
        config_dir=tmp_path,
        instances=Instances(redis_client, scripts),
        leases=Leases(redis_client, scripts, lease_ms=60_000, grace_ms=100, fence_margin_ms=0),
        cleanup_leases=CleanupLeases(redis_client, scripts, lease_ms=60_000, grace_ms=100, fence_margin_ms=0),
        events=Events(redis_client),
        capture=capsys,
    )
    yield found
    for thread in found.threads:
        thread.join(timeout=5)


@pytest.fixture
def books(bench: Bench, tmp_path: Path) -> LedgerBench:
    """The command line with an empty ledger where it is by default."""
    return LedgerBench(bench=bench, path=tmp_path / "run" / "ledger.sqlite")
