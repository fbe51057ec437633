"""The embedded server and the supervisor, with real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.stack.logs import LogFollower
from cli.stack.processes import ManagedProcess, ProcessSpec, StackError, Supervisor, stop_together
from cli.stack.valkey import ValkeyServer
from state.connection import connect
from state.server import require_safe
from tests.support import is_running, wait_until

ENVIRON = {"PATH": os.environ.get("PATH", "")}


def python_process(tmp_path: Path, code: str, *, stop_timeout_s: float = 5.0) -> ManagedProcess:
    spec = ProcessSpec(
        name="child",
        command=(sys.executable, "-u", "-c", textwrap.dedent(code)),
        environ=ENVIRON,
        cwd=tmp_path,
        stop_timeout_s=stop_timeout_s,
    )
    return ManagedProcess(spec, tmp_path)


@pytest.fixture
def own_server(valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own, which it may kill; skipped with the shared one."""
    server = ValkeyServer(tmp_path / "own", environ=ENVIRON)
    server.start()
    server.wait_ready()
    yield server
    server.stop()


@pytest.mark.services
class TestServer:
    def test_refuses_whoever_has_no_password(self, valkey_server: ValkeyServer) -> None:
        without = redis.Redis(port=valkey_server.port)
        with pytest.raises(redis.AuthenticationError):
            without.ping()
        without.close()

    def test_is_safe_to_trade_on(self, redis_client: redis.Redis) -> None:
        report = require_safe(redis_client)
        assert report.keeps_everything
        assert report.append_only

    def test_listens_on_loopback_only(self, redis_client: redis.Redis) -> None:
        assert redis_client.config_get("bind") == {"bind": "127.0.0.1"}

    def test_password_is_in_no_file_that_others_can_read(
        self, own_server: ValkeyServer, tmp_path: Path
    ) -> None:
        password = own_server.url.split(":")[2].split("@")[0]
        holders = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and password in path.read_text(errors="replace")
        ]
        assert [path.name for path in holders] == ["valkey.conf"]
        assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600

    def test_has_port_and_data_again_after_being_killed(self, own_server: ValkeyServer) -> None:
        # Given a key that the append-only file has taken in
        with connect(own_server.url) as client:
            client.set("kept", "yes")
            client.execute_command("WAITAOF", 1, 0, 5000)
        # When the server is killed and started again
        first = own_server.process.pid
        own_server.kill()
        assert own_server.process.exit_code == -signal.SIGKILL
        own_server.start()
        own_server.wait_ready()
        # Then the same URL gives the key
        assert own_server.process.pid != first
        with connect(own_server.url) as client:
            assert client.get("kept") == "yes"

    def test_a_port_in_use_is_told_with_the_log(self, own_server: ValkeyServer, tmp_path: Path) -> None:
        second = ValkeyServer(tmp_path / "second", environ=ENVIRON)
        conf = tmp_path / "second" / "valkey.conf"
        conf.write_text(conf.read_text().replace(f"port {second.port}", f"port {own_server.port}"))
        second.start()
        with pytest.raises(StackError, match="in use"):
            second.wait_ready()


class TestProcesses:
    def test_one_that_ignores_sigterm_is_killed_with_its_children(self, tmp_path: Path) -> None:
        # Given a process that ignores SIGTERM and has a child that does
        process = python_process(
            tmp_path,
            """
            import signal, subprocess, sys
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import signal, time; "
                "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
            print(child.pid)
            child.wait()
            """,
            stop_timeout_s=0.3,
        )
        process.start()
        wait_until(lambda: process.tail().strip().isdigit())
        grandchild = int(process.tail())
        # When it is stopped, then it says that it did not go by itself, and nothing is left
        assert process.stop() is False
        assert process.exit_code == -signal.SIGKILL
        wait_until(lambda: not is_running(grandchild))

    def test_children_that_a_process_leaves_behind_are_ended(self, tmp_path: Path) -> None:
        process = python_process(
            tmp_path,
            """
            import subprocess, sys
            print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
            """,
        )
        process.start()
        assert process.wait(60)
        grandchild = int(process.tail())
        wait_until(lambda: not is_running(grandchild))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
    def test_they_die_with_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        code = f"""
            import sys, time
            from pathlib import Path
            from cli.stack.processes import ManagedProcess, ProcessSpec
            sleeper = "import time; print('asleep', flush=True); time.sleep(60)"
            command = (sys.executable, "-c", sleeper)
            spec = ProcessSpec(name="sleeper", command=command, environ={{}}, cwd=Path("."))
            process = ManagedProcess(spec, Path({str(tmp_path)!r}))
            process.start()
            print(process.pid, flush=True)
            time.sleep(60)
            """
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert parent.stdout
        child = int(parent.stdout.readline())
        # Before that it would notice by itself that its parent is gone.
        wait_until(lambda: "asleep" in (tmp_path / "sleeper.log").read_text())
        assert is_running(child)
        parent.kill()
        parent.communicate()
        wait_until(lambda: not is_running(child))

    def test_a_missing_program_is_told_in_the_log(self, tmp_path: Path) -> None:
        spec = ProcessSpec(name="absent", command=("no-such-program",), environ=ENVIRON, cwd=tmp_path)
        process = ManagedProcess(spec, tmp_path)
        process.start()
        assert process.wait(60)
        assert process.exit_code == 1
        assert "no-such-program" in process.tail()


class TestLogs:
    def test_each_line_is_given_once_and_only_when_it_is_complete(self, tmp_path: Path) -> None:
        process = python_process(tmp_path, "")
        follower = LogFollower([process])
        assert list(follower.new_lines()) == []
        process.log_file.write_bytes(b"first\nsec")
        assert list(follower.new_lines()) == [("child", "first")]
        with process.log_file.open("ab") as log:
            log.write(b"ond\n")
        assert list(follower.new_lines()) == [("child", "second")]
        assert list(follower.new_lines()) == []


class TestSupervisor:
    def test_restarts_what_was_killed_and_says_so(self, tmp_path: Path) -> None:
        said: list[str] = []
        process = python_process(tmp_path, "import time; time.sleep(60)")
        process.start()
        supervisor = Supervisor(said.append)
        supervisor.watch(process)
        first = process.pid
        assert first
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: process.is_alive and process.pid != first)
        wait_until(lambda: len(said) == 2)
        assert "child ended unexpectedly (signal 9" in said[0]
        assert stop_together([process])
        supervisor.end()

    def test_leaves_alone_what_was_asked_to_end(self, tmp_path: Path) -> None:
        said: list[str] = []
        process = python_process(tmp_path, "import time; time.sleep(60)")
        process.start()
        supervisor = Supervisor(said.append)
        supervisor.watch(process)
        process.stop()
        threading.Event().wait(0.6)  # longer than the watch interval and the first back-off together
        assert not process.is_alive
        assert said == []
        supervisor.end()

    def test_a_process_waiting_for_its_restart_can_be_stopped(self, tmp_path: Path) -> None:
        said: list[str] = []
        process = python_process(tmp_path, "raise SystemExit(3)")
        process.start()
        supervisor = Supervisor(said.append)
        supervisor.watch(process)
        wait_until(lambda: bool(said))
        assert "exit code 3" in said[0]
        process.stop()
        before = len(said)
        threading.Event().wait(0.8)
        assert not process.is_alive
        assert len(said) <= before + 1
        supervisor.end()
