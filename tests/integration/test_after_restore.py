"""A state server whose files come from a backup: it says what was, and nothing may go on by its word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.main import run
from cli.stack.processes import StackError
from cli.stack.valkey import ValkeyServer
from runner.context import open_context
from runner.receipt import Result
from runner.restored import WHY
from state import keys
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.acceptance.command import plain_environ
from tests.conftest import services_required
from tests.factories import INSTANCE_ID
from tests.fake_venue import OneVenue
from tests.integration.damage_bench import OTHER, DamageBench

pytestmark = pytest.mark.services


class Backup:
    """A server of its own, with a copy of its files taken while it ran."""

    def __init__(self, folder: Path) -> None:
        self._data, self._copy = folder / "server", folder / "backup"
        self.server = ValkeyServer(self._data, environ=plain_environ())
        self.server.start()
        self.server.wait_ready()

    def take(self) -> None:
        """Copy the append-only file, as docs/operations.md does."""
        shutil.copytree(self._data / "appendonlydir", self._copy)

    def restore(self) -> None:
        """Put it back."""
        self.server.stop()
        shutil.rmtree(self._data / "appendonlydir")
        shutil.copytree(self._copy, self._data / "appendonlydir")
        self.server.start()
        self.server.wait_ready()


@pytest.fixture
def backup(tmp_path: Path) -> Iterator[Backup]:
    try:
        found = Backup(tmp_path)
    except StackError as error:
        if services_required():
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield found
    found.server.stop()


@pytest.fixture
def bench(backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DamageBench:
    folder = tmp_path / "instances"
    folder.mkdir()
    monkeypatch.setenv("BROKER_URL", backup.server.url)
    monkeypatch.setenv("CLEANBOOK_CONFIG_DIR", str(folder))
    return DamageBench(backup.server.url, folder)


def reconnect(bench: DamageBench) -> None:
    """Look at the server with fresh eyes, as a new process would."""
    bench.context = replace(open_context(bench.settings), venues=OneVenue(bench.venue))
    bench.client = bench.context.client


def test_a_run_that_was_stopped_since_does_not_go_on(
    bench: DamageBench, backup: Backup, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.start()
    backup.take()
    bench.stop()
    assert bench.clean_up().result is Result.CLEAN
    backup.restore()
    reconnect(bench)
    assert bench.record().phase is Phase.RUNNING, "so says the backup"
    before = bench.client.hget(keys.generations(INSTANCE_ID), "skipped")
    assert run(("after-restore", "--yes", "--json")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["instances"]
    assert told == [{"instance_id": INSTANCE_ID, "was": "running", "phase": "failed", "epoch": 1}]
    record = bench.record()
    assert record.phase is Phase.FAILED
    assert record.stop_reason == WHY
    assert bench.client.hget(keys.generations(INSTANCE_ID), "skipped") != before
    bench.sweep()
    assert (INSTANCE_ID, 1) in bench.publisher.cleanups
    assert bench.publisher.iterations == []


def test_orders_of_a_later_run_that_the_backup_does_not_know_are_cancelled(
    bench: DamageBench, backup: Backup
) -> None:
    bench.start()
    backup.take()
    bench.rest("11", "12")
    backup.restore()
    reconnect(bench)
    assert run(("after-restore", "--yes")) == 0
    assert bench.clean_up().result is Result.CLEAN
    assert list(bench.venue.open_orders("SOL_USDC")) == []


def test_who_is_stopped_stays_so(bench: DamageBench, backup: Backup) -> None:
    bench.start(OTHER)
    bench.context.instances.request_stop(OTHER, by="t", reason="t", policy=StopPolicy())
    backup.take()
    backup.restore()
    reconnect(bench)
    assert run(("after-restore", "--yes")) == 0
    assert bench.record(OTHER).phase is Phase.STOPPING
    assert bench.client.hget(keys.record(OTHER), "server") == "", "so its cleanup sets the fence anew"


def test_nothing_is_changed_without_a_yes(bench: DamageBench, backup: Backup) -> None:
    bench.start()
    assert run(("after-restore", "--json")) == 2
    assert bench.record().phase is Phase.RUNNING


def test_a_damaged_record_holds_nobody_else_back(
    bench: DamageBench, backup: Backup, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.start()
    bench.start(OTHER)
    bench.damage("epoch", "many")
    backup.take()
    backup.restore()
    reconnect(bench)
    assert run(("after-restore", "--yes", "--json")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["instances"]
    assert {each["instance_id"]: each["was"] for each in told} == {INSTANCE_ID: "damaged", OTHER: "running"}
    assert (bench.record().phase, bench.record(OTHER).phase) == (Phase.FAILED, Phase.FAILED)
    assert bench.clean_up().result is Result.CLEAN
