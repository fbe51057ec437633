"""Flower as `honcho start` runs it: on this machine only, and for nobody without the password."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from cli.flower import PASSWORD_FILE, USER
from cli.stack.stack import ROOT
from cli.stack.valkey import free_port
from runner.config_credentials import DEMO_SECRET_KEY
from tests.acceptance.command import plain_environ
from tests.acceptance.conftest import LIVE_SECRET
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance


@contextmanager
def flower(
    world: World, run_dir: Path, *options: str, path: str = "", **more: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `manage.py flower` on the stack's broker; give its address."""
    port = free_port()
    environ = plain_environ() | {"BROKER_URL": world.stack.broker_url, "CLEANBOOK_RUN_DIR": str(run_dir)}
    with (run_dir / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "flower", f"--port={port}", *options],
            cwd=ROOT,
            env=environ | more,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}{path}"

        def answers() -> bool:
            try:
                return requests.get(f"{url}/healthcheck", timeout=10).ok
            except requests.RequestException:
                assert process.poll() is None, (run_dir / "flower.log").read_text()
                return False

        eventually(answers, 60, what="Flower")
        yield url, process
    finally:
        process.terminate()
        process.wait(60)


def test_flower_asks_for_the_password_and_listens_on_loopback(world: World, tmp_path: Path) -> None:
    with flower(world, tmp_path) as (url, process):
        password = (tmp_path / PASSWORD_FILE).read_text().strip()
        pages = ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length")
        for page in pages:
            assert requests.get(url + page, timeout=60).status_code == 401, page
            assert requests.get(url + page, auth=(USER, "wrong"), timeout=60).status_code == 401, page
        revoke = f"{url}/api/task/revoke/some-id?terminate=true"
        assert requests.post(revoke, timeout=60).status_code == 401
        assert requests.get(url + "/api/workers", auth=(USER, password), timeout=60).ok

        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        if os.path.isdir("/proc"):
            assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert password not in (tmp_path / "flower.log").read_text()


def test_workers_and_tasks_are_told_in_words_that_people_read(world: World, tmp_path: Path) -> None:
    with flower(world, tmp_path) as (url, _):
        credentials = (USER, (tmp_path / PASSWORD_FILE).read_text().strip())

        def told(path: str) -> dict[str, Any]:
            answer = requests.get(url + path, auth=credentials, timeout=60)
            assert answer.ok, f"{path}: {answer.status_code}"
            found: dict[str, Any] = answer.json()
            return found

        def workers() -> dict[str, set[str]]:
            asked = told("/api/workers?refresh=1").items()
            return {name: {queue["name"] for queue in told["active_queues"]} for name, told in asked}

        host = os.uname().nodename
        both = {f"iterate@{host}": {"iterate"}, f"cleanup@{host}": {"cleanup"}}
        eventually(lambda: both.items() <= workers().items(), 60, what="the workers")

        instance_id = world.run("flower_01")

        def task(name: str, args: str, result: str) -> dict[str, Any] | None:
            fits = (
                each
                for each in told(f"/api/tasks?limit=2000&taskname={name}").values()
                if re.fullmatch(args, each["args"] or "")
                and re.fullmatch(result, (each["result"] or "").strip("'"))
            )
            return next(fits, None)

        # Nobody has to switch anything on: it does so itself, in all workers.
        iteration = eventually(
            lambda: task("tasks.iterate", rf"{instance_id} · epoch 1 · tick [0-9]+", r"seq [0-9]+ · .+"),
            60,
            what="an iteration with its result",
        )
        assert iteration["state"] == "SUCCESS"
        assert iteration["kwargs"] == ""
        world.stop(instance_id)
        eventually(
            lambda: task("tasks.cleanup", rf"{instance_id} · epoch 1", r"clean · attempt 1 · 6 cancelled"),
            60,
            what="the cleanup with its result",
        )
        everything = str(told("/api/tasks?limit=2000")) + str(told("/api/workers"))
        for secret in (LIVE_SECRET, DEMO_SECRET_KEY, credentials[1]):
            assert secret not in everything


def test_it_can_live_under_a_path_without_its_buttons(world: World, tmp_path: Path) -> None:
    with flower(world, tmp_path, "--url-prefix=/see/flower/", "--read-only", path="/see/flower") as (url, _):
        credentials = (USER, (tmp_path / PASSWORD_FILE).read_text().strip())
        page = requests.get(f"{url}/workers", auth=credentials, timeout=60)
        assert page.ok
        assert 'href="/see/flower/static/' in page.text
        assert requests.get(f"{url}/workers", timeout=60).status_code == 401
        ended = requests.post(
            f"{url}/api/worker/shutdown/iterate@{os.uname().nodename}", auth=credentials, timeout=20
        )
        assert ended.status_code == 403
        assert world.serving_queues() >= {"iterate", "cleanup"}
