"""`deploy/bin`: secrets of files become variables, signals reach the command, and who is well is told."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from cli.stack.stack import ROOT
from cli.stack.valkey import ValkeyServer
from state import keys
from tests.acceptance.command import plain_environ

pytestmark = pytest.mark.deploy

PROGRAM = ROOT / "deploy" / "bin" / "with-secrets"
HEALTHY = ROOT / "deploy" / "bin" / "healthy.py"
SHOW = "import os; print(os.environ.get('BROKER_URL'), os.environ.get('BACKPACK_KEY'))"


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(PROGRAM), *command),
        env=plain_environ() | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_files_of_systemd_and_of_containers_become_variables(tmp_path: Path) -> None:
    for folder in ("credentials", "secrets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "credentials" / "cleanbook_BROKER_URL").write_text("redis://:it's $HOME `x`@h/0\n")
    (tmp_path / "secrets" / "BACKPACK_KEY").write_text("key")
    done = run(
        sys.executable,
        "-c",
        SHOW,
        CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"),
        SECRETS_DIRECTORY=str(tmp_path / "secrets"),
    )
    assert done.stdout == "redis://:it's $HOME `x`@h/0 key\n"


def test_a_file_that_is_no_variable_is_refused_and_its_content_not_shown(tmp_path: Path) -> None:
    (tmp_path / "my-key").write_text("hush")
    done = run("true", SECRETS_DIRECTORY=str(tmp_path))
    assert done.returncode == 2
    assert "my-key" in done.stderr
    assert "hush" not in done.stderr


def test_a_signal_reaches_the_command_and_no_shell(tmp_path: Path) -> None:
    program = (
        "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); "
        "print('up', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        (str(PROGRAM), sys.executable, "-c", program),
        env=plain_environ() | {"SECRETS_DIRECTORY": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7


class TestHealth:
    def _code(self, url: str, *arguments: str) -> int:
        return subprocess.run(
            (sys.executable, str(HEALTHY), *arguments),
            env=plain_environ() | {"BROKER_URL": url},
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    def test_who_has_told_of_itself_is_well(
        self, redis_client: redis.Redis, valkey_server: ValkeyServer
    ) -> None:
        beat = {"queues": ["iterate"], "at_ms": int(time.time() * 1000)}
        redis_client.hset(keys.WORKERS, f"iterate@{platform.node()}", json.dumps(beat))
        assert self._code(valkey_server.url) == 0

    def test_who_has_not_for_long_is_not(
        self, redis_client: redis.Redis, valkey_server: ValkeyServer
    ) -> None:
        beat = {"queues": ["iterate"], "at_ms": int(time.time() * 1000) - 60_000}
        redis_client.hset(keys.WORKERS, f"iterate@{platform.node()}", json.dumps(beat))
        assert self._code(valkey_server.url) == 1

    def test_another_host_is_not_this_one(
        self, redis_client: redis.Redis, valkey_server: ValkeyServer
    ) -> None:
        beat = {"queues": ["iterate"], "at_ms": int(time.time() * 1000)}
        redis_client.hset(keys.WORKERS, "iterate@elsewhere", json.dumps(beat))
        assert self._code(valkey_server.url) == 1

    def test_nobody_is_killed_for_a_server_that_is_away(self) -> None:
        assert self._code("redis://127.0.0.1:1/0") == 0

    def test_a_page_that_does_not_answer_is_not_well(self) -> None:
        assert self._code("redis://127.0.0.1:1/0", "http://127.0.0.1:1/") == 1
