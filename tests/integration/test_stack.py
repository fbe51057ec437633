"""The whole stack: real workers on a real server, without the simulated exchange."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.logs import LogFollower
from cli.stack.processes import StackError
from cli.stack.stack import ROOT, Stack, StackOptions
from cli.stack.valkey import ValkeyServer
from settings import load
from state.connection import connect
from state.events import Events
from tests.support import group_of, is_running, wait_until

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def running(valkey_server: ValkeyServer, run_dir: Path) -> Iterator[Stack]:
    """A stack of its own server and two workers; skipped where there is no server."""
    environ = {"PATH": os.environ.get("PATH", "")}
    with Stack(StackOptions(run_dir=run_dir, simulator=False, environ=environ)) as stack:
        yield stack
    assert not [process.name for process in stack.processes.values() if process.is_alive]
    assert not (run_dir / "stack.json").exists()


def test_both_queues_have_a_worker_of_their_own(running: Stack) -> None:
    with connect(running.broker_url) as client:
        seconds, _ = client.time()
        workers = Events(client).workers(now_ms=seconds * 1000)
    assert sorted(worker.queues for worker in workers) == [("cleanup",), ("iterate",)]


def test_another_terminal_of_the_checkout_finds_it(running: Stack, run_dir: Path) -> None:
    settings = load({"CLEANBOOK_RUN_DIR": str(run_dir)})
    assert settings.broker_url == settings.state_url == running.broker_url


def test_its_addresses_and_passwords_are_private(running: Stack, run_dir: Path) -> None:
    stack_file = run_dir / "stack.json"
    assert stat.S_IMODE(stack_file.stat().st_mode) == 0o600
    password = running.broker_url.split(":")[2].split("@")[0]
    assert password in json.loads(stack_file.read_text())["broker_url"]
    commands = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert password not in commands
    assert password not in "".join(path.read_text() for path in running.log_dir.iterdir())


def test_a_second_stack_in_the_same_place_is_refused_and_changes_nothing(
    running: Stack, run_dir: Path
) -> None:
    before = (run_dir / "stack.json").read_text()
    with pytest.raises(StackError, match=f"already runs.*process {os.getpid()}"):
        Stack(StackOptions(run_dir=run_dir, simulator=False)).start()
    assert (run_dir / "stack.json").read_text() == before
    assert all(process.is_alive for process in running.processes.values())


def test_a_killed_worker_comes_back_and_its_children_are_gone(running: Stack) -> None:
    worker = running.processes["iterate"]
    first = worker.pid
    assert first
    children = group_of(first)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: worker.is_alive and worker.pid != first)
    wait_until(lambda: not any(is_running(child) for child in children))


def test_logs_are_followed_line_by_line(running: Stack) -> None:
    follower = LogFollower(running.processes.values())
    lines: list[tuple[str, str]] = []

    def is_ready_seen() -> bool:
        lines.extend(follower.new_lines())
        return any("ready" in text for _, text in lines)

    wait_until(is_ready_seen)
    assert {name for name, _ in lines} >= {"valkey", "iterate"}
    assert not [text for _, text in lines if "\n" in text]


def test_a_worker_that_cannot_start_is_reported_with_its_log_and_nothing_stays(tmp_path: Path) -> None:
    environ = {"PATH": os.environ.get("PATH", ""), "CLEANBOOK_LEASE_MS": "soon"}
    stack = Stack(StackOptions(run_dir=tmp_path, simulator=False, environ=environ))
    with pytest.raises(StackError, match="CLEANBOOK_LEASE_MS is 'soon'"):
        stack.start()
    assert not [process.name for process in stack.processes.values() if process.is_alive]
    assert not (tmp_path / "stack.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nothing_survives_a_kill_of_the_stack_itself(valkey_server: ValkeyServer, tmp_path: Path) -> None:
    code = f"""
        import json, time
        from pathlib import Path
        from cli.stack.stack import Stack, StackOptions
        stack = Stack(StackOptions(run_dir=Path({str(tmp_path)!r}), simulator=False))
        stack.start()
        print(json.dumps([process.pid for process in stack.processes.values()]), flush=True)
        time.sleep(60)
        """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout
    pids: list[int] = json.loads(parent.stdout.readline())
    family = [child for pid in pids for child in group_of(pid)]
    assert len(family) >= 7  # the server, and two workers with two children each
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(is_running(pid) for pid in family))
    # And the file it left does not mislead the next command.
    assert load({"CLEANBOOK_RUN_DIR": str(tmp_path)}).broker_url == "redis://127.0.0.1:6379/0"
