"""What real servers tell of themselves, and which of them anything may be started on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from state.connection import UnsafeServer, connect
from state.durability import Keeps, wait_for_disk
from state.server import ServerReport, require_safe, server_report
from tasks.server_check import tell_of_server
from tests.acceptance.world import eventually

pytestmark = pytest.mark.services

Make = Callable[..., redis.Redis]


@pytest.fixture
def make(valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[Make]:
    """Start servers of the test's own; skipped with the shared one."""
    with ExitStack() as stack:

        def start(*, append_only: bool = True, fsync: str = "always") -> redis.Redis:
            server = ValkeyServer(
                tmp_path / "own",
                environ={"PATH": os.environ.get("PATH", "")},
                append_only=append_only,
                fsync=fsync,
            )
            server.start()
            stack.callback(server.stop)
            server.wait_ready()
            client = connect(server.url)
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture
def limited(redis_client: redis.Redis, valkey_server: ValkeyServer) -> Iterator[Callable[..., redis.Redis]]:
    """Log in as a user who may do everything but what a test forbids."""
    parts = urlsplit(valkey_server.url)
    clients = []

    def login(*rules: str) -> redis.Redis:
        command = ("ACL", "SETUSER", "limited", "reset", "on", ">pw", "~*", "&*", "+@all", *rules)
        cast("Any", redis_client).execute_command(*command)
        client = connect(f"redis://limited:pw@{parts.hostname}:{parts.port}/0")
        clients.append(client)
        return client

    yield login
    for client in clients:
        client.close()
    cast("Any", redis_client).execute_command("ACL", "DELUSER", "limited")


class TestKeeping:
    def test_one_that_forces_each_write_to_the_disk_keeps_everything(self, make: Make) -> None:
        assert require_safe(make(), live=True).keeps is Keeps.ALWAYS

    def test_one_that_does_so_each_second_may_lose_that(self, make: Make) -> None:
        assert require_safe(make(fsync="everysec"), live=True).keeps is Keeps.EVERYSEC

    @pytest.mark.parametrize("options", [{"append_only": False}, {"fsync": "no"}])
    def test_one_that_does_not_is_refused_for_real_money_only(
        self, make: Make, options: dict[str, bool | str]
    ) -> None:
        client = make(**options)
        assert require_safe(client).keeps is Keeps.UNSURE
        with pytest.raises(UnsafeServer, match="CLEANBOOK_STATE_DURABILITY"):
            require_safe(client, live=True)

    def test_whoever_vouches_for_it_may(self, make: Make) -> None:
        client = make(append_only=False)
        assert require_safe(client, live=True, vouched="always").keeps is Keeps.ALWAYS
        assert require_safe(client, live=True, vouched="unsure").keeps is Keeps.UNSURE

    def test_one_that_pauses_while_it_rewrites_is_not_sure(self, make: Make) -> None:
        client = make()
        client.config_set("no-appendfsync-on-rewrite", "yes")
        report = server_report(client)
        assert report.keeps is Keeps.UNSURE
        assert "no-appendfsync-on-rewrite" in report.why_unsure

    def test_one_that_may_be_replaced_by_a_replica_may_lose_the_last_moment(self, make: Make) -> None:
        assert replace(server_report(make()), replicas=1).keeps is Keeps.EVERYSEC


class TestRefusals:
    def test_one_that_evicts(self, make: Make) -> None:
        client = make()
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeServer, match="noeviction"):
            require_safe(client)

    def test_a_replica(self, make: Make) -> None:
        client = make()
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(UnsafeServer, match="replica"):
            require_safe(client)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [({"is_cluster": True}, "Cluster"), ({"redis_version": (6, 0, 16), "version": "6.0.16"}, "too old")],
    )
    def test_another_kind(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], says: str
    ) -> None:
        client = make()
        found: ServerReport = replace(server_report(client), **changes)  # type: ignore[arg-type]
        monkeypatch.setattr("state.server.server_report", lambda *_, **__: found)
        with pytest.raises(UnsafeServer, match=says):
            require_safe(client)


class TestUsers:
    def test_without_the_right_to_see_settings_the_fsync_is_not_known(
        self, limited: Callable[..., redis.Redis]
    ) -> None:
        report = require_safe(limited("-config"), live=True)
        assert (report.fsync, report.snapshots) == ("", None)
        # The worse of what it may be.
        assert report.keeps is Keeps.EVERYSEC

    @pytest.mark.parametrize("rule", ["-@scripting", "-time"])
    def test_without_the_right_to_run_scripts_nothing_starts(
        self, limited: Callable[..., redis.Redis], rule: str
    ) -> None:
        with pytest.raises(UnsafeServer, match="scripts cannot run"):
            require_safe(limited(rule))

    def test_without_the_right_to_ask_for_its_state_nothing_starts(
        self, limited: Callable[..., redis.Redis]
    ) -> None:
        with pytest.raises(UnsafeServer, match="must be allowed to run INFO"):
            require_safe(limited("-info"))


def test_a_worker_tells_what_is_wrong(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    client = make(append_only=False)
    client.config_set("maxmemory-policy", "allkeys-lru")
    tell_of_server(client, "")
    told = capsys.readouterr().out
    assert "maxmemory-policy allkeys-lru" in told
    assert "no append-only file" in told


def test_a_file_that_was_turned_on_just_now_keeps_nothing_yet(make: Make) -> None:
    client = make(append_only=False)
    client.config_set("save", "")
    client.mset({f"key {number}": "x" for number in range(2000)})
    client.config_set("rdb-key-save-delay", 4_000)  # us for each: writing the file takes 8 s
    client.config_set("appendonly", "yes")
    report = server_report(client)
    assert report.keeps is Keeps.UNSURE
    assert "not complete yet" in report.why_unsure
    assert not wait_for_disk(client, timeout_s=1.5)
    client.config_set("rdb-key-save-delay", 0)
    assert eventually(lambda: server_report(client).keeps is Keeps.ALWAYS)
    assert wait_for_disk(client)
