"""Flower as `honcho start` runs it: on this machine only, and for nobody without the password."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from cli.flower import PASSWORD_FILE, USER
from cli.stack.stack import ROOT
from cli.stack.valkey import free_port
from tests.acceptance.command import plain_environ
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance


@contextmanager
def flower(world: World, run_dir: Path, **more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `manage.py flower` on the stack's broker; give its address."""
    port = free_port()
    environ = plain_environ() | {"BROKER_URL": world.stack.broker_url, "CLEANBOOK_RUN_DIR": str(run_dir)}
    with (run_dir / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "flower", f"--port={port}"],
            cwd=ROOT,
            env=environ | more,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return requests.get(f"{url}/healthcheck", timeout=2).ok
            except requests.ConnectionError:
                assert process.poll() is None, (run_dir / "flower.log").read_text()
                return False

        eventually(answers, what="Flower")
        yield url, process
    finally:
        process.terminate()
        process.wait(10)


def test_flower_asks_for_the_password_and_listens_on_loopback(world: World, tmp_path: Path) -> None:
    with flower(world, tmp_path) as (url, process):
        password = (tmp_path / PASSWORD_FILE).read_text().strip()
        pages = ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length")
        for page in pages:
            assert requests.get(url + page, timeout=10).status_code == 401, page
            assert requests.get(url + page, auth=(USER, "wrong"), timeout=10).status_code == 401, page
        revoke = f"{url}/api/task/revoke/some-id?terminate=true"
        assert requests.post(revoke, timeout=10).status_code == 401
        assert requests.get(url + "/api/workers", auth=(USER, password), timeout=10).ok

        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        if os.path.isdir("/proc"):
            assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert password not in (tmp_path / "flower.log").read_text()
