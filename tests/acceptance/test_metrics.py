"""What processes count leaves them while they trade, and does not matter to them where it cannot."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics.directory import ENDED_FILE, read_sums
from metrics.numbers import Key, Values
from tests.acceptance.command import plain_environ
from tests.acceptance.other_stack import own_world
from tests.acceptance.workers import Worker
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance


def counted(world: World) -> dict[Key, Values]:
    """Return what all processes of the stack have counted."""
    directory = world.stack.options.run_dir / "metrics"
    return read_sums(directory) if directory.exists() else {}


def number(world: World, *key: str) -> float:
    """Return a counter, or how many values a histogram has."""
    values = counted(world).get(key, [0.0])
    return values[0] if len(values) == 1 else sum(values[:-1])


def test_iterations_orders_and_stops_are_counted_over_all_processes(world: World) -> None:
    watched = (
        ("cleanbook_iterations", "tick", "done"),
        ("cleanbook_iteration_lateness_seconds",),
        ("cleanbook_orders_placed", "buy"),
        ("cleanbook_orders_cancelled", "cleanup"),
        ("cleanbook_receipts", "clean"),
        ("cleanbook_stop_seconds",),
        ("cleanbook_stop_phase_seconds", "verified"),
        ("cleanbook_exchange_request_seconds", "cancel"),
        ("cleanbook_feed_lag_seconds", "orders"),
        ("cleanbook_swept", "cleanup"),
    )
    before = {key: number(world, *key) for key in watched}
    name = world.run("counted_01")
    world.wait_for_stream("SOL_USDC")
    seq = world.record(name).seq
    eventually(lambda: world.record(name).seq >= seq + 2, what="more iterations")
    world.stop(name)
    eventually(
        lambda: all(number(world, *key) > count for key, count in before.items()),
        what=lambda: f"counts of {[key for key in watched if number(world, *key) <= before[key]]}",
    )
    assert number(world, "cleanbook_receipts", "clean") == before["cleanbook_receipts", "clean"] + 1
    assert number(world, "cleanbook_orders_cancelled", "cleanup") >= 6


def test_what_a_killed_worker_has_counted_stays_and_its_file_goes(world: World) -> None:
    name = world.run("counted_02")
    directory = world.stack.options.run_dir / "metrics"
    worker = Worker(world, world.stack.processes["iterate"])
    pids = {worker.pid, *worker.children()}

    def theirs() -> bool:
        return any(int(path.name.split("-")[0]) in pids for path in directory.glob("*-*.json"))

    eventually(theirs, what="a file of the worker")
    before = number(world, "cleanbook_iterations", "tick", "done")
    assert before > 0
    worker.signal_group(signal.SIGKILL)
    eventually(lambda: worker.has_ended, what="the end of the worker")
    done = ("cleanbook_iterations", "tick", "done")
    eventually(lambda: number(world, *done) >= before and not theirs(), what="sums")
    assert (directory / ENDED_FILE).exists()
    seq = world.record(name).seq
    eventually(lambda: world.record(name).seq > seq, 60, what="an iteration of the next worker")
    eventually(lambda: number(world, "cleanbook_iterations", "tick", "done") > before, what="more counts")
    world.stop(name)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own on which nothing has room."""
    disk = tmp_path / "full"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        (disk / "filling").write_bytes(bytes(8192))
        (disk / "rest").write_bytes(bytes(4096))
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_under_the_metrics_changes_nothing_but_one_line_of_each_log(
    full_disk: Path, tmp_path: Path
) -> None:
    environ = plain_environ() | {"CLEANBOOK_METRICS_DIR": str(full_disk / "metrics")}
    with own_world(tmp_path, environ) as world:
        name = world.run("full_disk_01")
        seq = world.record(name).seq
        # Long enough for the second try to write.
        eventually(lambda: world.record(name).seq > seq + 24, 60, what="iterations that follow each other")
        receipt = world.stop(name)
        assert receipt.is_clean
        worker = Worker(world, world.stack.processes["iterate"])
        children = len(worker.children())
        lines = [line for line in worker.process.log_file.read_text().splitlines() if line.startswith("{")]
        events = [json.loads(line)["event"] for line in lines]
        told = events.count("metrics cannot be written, trading goes on")
        assert 1 <= told <= children + 1
        assert "iteration failed" not in events
