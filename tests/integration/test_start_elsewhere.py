"""An instance is not started elsewhere while orders of its last run may rest where that run traded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from runner import loaded
from runner.cleanup import run_cleanup
from runner.context import Context, open_context
from runner.lifecycle import StartRefused, start_instance
from settings import load
from state.cleanup_leases import CleanupLease
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests import factories
from tests.factories import INSTANCE_ID
from tests.fake_venue import FakeVenue, OneVenue


class Bench:
    """An instance with a file, and an exchange in memory."""

    def __init__(self, url: str, config_dir: Path) -> None:
        self.venue = FakeVenue()
        self.file = config_dir / f"{INSTANCE_ID}.json"
        context = open_context(replace(load({}), state_url=url, config_dir=config_dir))
        self.context: Context = replace(context, venues=OneVenue(self.venue))

    def configure(self, symbol: str = "SOL_USDC") -> None:
        """Write the file."""
        content = json.loads(factories.instance_config().to_json())
        content["metadata"]["symbol"] = symbol
        self.file.write_text(json.dumps(content))

    def start(self, *, force: bool = False) -> bool:
        """Start it, and tell whether it was."""
        record = self.context.instances.read(INSTANCE_ID)
        accept = AcceptedLeft(epoch=record.epoch, left=record.left) if force and record else None
        return start_instance(self.context, INSTANCE_ID, by="test", accept=accept).result.started

    def stop(self, policy: StopPolicy) -> int:
        """Close the gate; return the epoch."""
        return self.context.instances.request_stop(INSTANCE_ID, by="test", reason="", policy=policy).epoch

    def fail(self) -> None:
        """Let its cleanup fail for good."""
        lease = self.context.cleanup_leases.claim(INSTANCE_ID, epoch=self.stop(StopPolicy()), by="test")
        assert isinstance(lease, CleanupLease)
        self.context.cleanup_leases.finish(
            lease, clean=False, outcome_json="{}", retry_after_ms=60_000, attempts_until_failed=1
        )

    def phase(self) -> Phase:
        """Return where it stands."""
        record = self.context.instances.read(INSTANCE_ID)
        assert record is not None
        return record.phase


@pytest.fixture
def bench(
    valkey_server: ValkeyServer, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    """An instance that runs on SOL_USDC."""
    monkeypatch.setattr(loaded, "_known", {})
    bench = Bench(valkey_server.url, tmp_path)
    bench.configure()
    assert bench.start()
    return bench


def test_a_failed_run_is_not_forced_onto_another_symbol(bench: Bench) -> None:
    # Else the next stop lists the new symbol only, and says clean while the old one's orders rest.
    bench.fail()
    bench.configure("ETH_USDC")
    with pytest.raises(StartRefused, match="SOL_USDC"):
        bench.start(force=True)
    assert bench.phase() is Phase.FAILED


def test_a_failed_run_is_not_forced_onto_another_account(bench: Bench) -> None:
    bench.fail()
    bench.context.client.hset(f"cleanbook:{{{INSTANCE_ID}}}:record", "account", "backpack:0123456789")
    with pytest.raises(StartRefused, match="backpack:0123456789"):
        bench.start(force=True)


def test_a_failed_run_may_be_forced_where_it_was(bench: Bench) -> None:
    bench.fail()
    assert bench.start(force=True)


def test_kept_orders_keep_an_instance_at_their_symbol(bench: Bench) -> None:
    record = bench.context.instances.read(INSTANCE_ID)
    assert record is not None
    bench.venue.rest(factories.open_order("kept-1", slot=record.slot))
    run_cleanup(bench.context, INSTANCE_ID, epoch=bench.stop(StopPolicy(cancel_orders=False)), by="test")
    assert bench.phase() is Phase.STOPPED
    bench.configure("ETH_USDC")
    with pytest.raises(StartRefused, match="kept-1"):
        bench.start()
    bench.configure("SOL_USDC")
    assert bench.start()


def test_a_clean_instance_may_go_anywhere(bench: Bench) -> None:
    run_cleanup(bench.context, INSTANCE_ID, epoch=bench.stop(StopPolicy()), by="test")
    assert bench.phase() is Phase.STOPPED
    bench.configure("ETH_USDC")
    assert bench.start()
