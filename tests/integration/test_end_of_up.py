"""What `manage.py up` stops when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from rich.console import Console

from cli import up
from cli.stack.valkey import ValkeyServer
from runner.context import open_context
from settings import Settings
from state import keys
from state.record import Phase

pytestmark = pytest.mark.services


def test_a_configuration_that_cannot_be_read_keeps_nobody_going(
    redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(Settings(state_url=valkey_server.url, run_dir=tmp_path))
    for name in ("a_01", "b_01"):
        context.instances.start(name, config_version="1", config_json="{}", slot=7, account="a", by="test")
    redis_client.set(keys.config("a_01"), "{ no JSON")
    monkeypatch.setattr(up, "STOP_TIMEOUT_S", 0.0)
    up._stop_all(context, Console(quiet=True))
    with_records = open_context(Settings(state_url=valkey_server.url, run_dir=tmp_path)).instances.read_all()
    assert {record.phase for record in with_records} == {Phase.STOPPING}
