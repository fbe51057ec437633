"""Keys and passwords stay where they belong: in the environment of the processes that need them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from runner.config_credentials import DEMO_SECRET_KEY
from state.record import Phase
from tests.acceptance.command import Command
from tests.acceptance.conftest import LIVE_KEY, LIVE_SECRET
from tests.acceptance.simulated_exchange import LIST_OPEN, PLACE_BATCH, fault
from tests.acceptance.world import World, crash_server, eventually

pytestmark = pytest.mark.acceptance


def redis_texts(client: redis.Redis) -> Iterator[tuple[str, str]]:
    """Yield every key of the state server with everything in it, Celery's included."""
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        if kind == "string":
            yield key, repr(client.get(key))
        elif kind == "hash":
            yield key, str(client.hgetall(key))
        elif kind == "list":
            yield key, str(client.lrange(key, 0, -1))
        elif kind == "set":
            yield key, str(client.smembers(key))
        elif kind == "zset":
            yield key, str(client.zrange(key, 0, -1))
        elif kind == "stream":
            yield key, str(client.xrange(key))
        else:
            pytest.fail(f"{key!r} is a {kind!r}, and nobody looks into those")


def live_instance(world: World, instance_id: str) -> str:
    """Configure an instance with keys of its own, as for real money; the exchange is the simulated one."""
    return world.configure(
        instance_id,
        top={"live": True},
        exchange={
            "api_key": "${BACKPACK_KEY}",
            "secret_key": "${BACKPACK_SECRET}",
            "base_url": world.exchange.url,
        },
    )


def test_secrets_are_in_no_log_no_redis_value_and_no_output(
    world: World, manage: Command, config_dir: Path
) -> None:
    live, demo = live_instance(world, "secret_live_01"), world.configure("secret_demo_01")
    outputs = [manage(*words) for words in (("validate", live), ("start", live, demo))]
    world.started += [live, demo]
    eventually(
        lambda: len(world.exchange.open_order_ids("other", slot=world.slot(live))) == 6,
        what="orders signed with the live key",
    )
    world.wait_for_orders(demo)
    # Errors are what tells too much: of requests, of lists, of the connection to the server.
    world.exchange.set_faults(
        fault(PLACE_BATCH, "reset_after", count=2), fault(LIST_OPEN, "error", status=401, count=2)
    )
    eventually(lambda: world.record(live).last_error or world.record(demo).last_error, what="an error")
    crash_server(world, down_s=0.2)
    outputs += [
        manage(*words)
        for words in (
            ("status", live, demo),
            ("status", live, demo, "--json"),
            ("list", "--json"),
            ("doctor", "--debug"),
            ("stop", live, demo, "--json", "--debug"),
        )
    ]
    outputs.append(manage("start", live, "--debug", BROKER_URL=world.stack.broker_url.replace("//:", "//:x")))
    assert world.record(demo).phase is Phase.STOPPED

    password = world.stack.broker_url.split(":")[2].split("@")[0]
    logs = [(str(path), path.read_text(errors="replace")) for path in world.stack.log_dir.iterdir()]
    assert {Path(name).stem for name, _ in logs} >= {"iterate", "cleanup", "simulator", "valkey"}
    said = [(f"command {number}", ended.out + ended.err) for number, ended in enumerate(outputs)]
    stored = list(redis_texts(world.context.client))
    assert any("secret_live_01" in text for _, text in stored)
    assert json.loads((config_dir / f"{live}.json").read_text())["live"], "the file names variables only"

    for secret in (LIVE_SECRET, DEMO_SECRET_KEY, password):
        found = [where for where, text in (*logs, *said, *stored) if secret in text]
        assert found == []
    assert [where for where, text in stored if LIVE_KEY in text] == []
