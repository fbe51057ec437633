"""Flower behind nginx and Caddy, with the configurations that docs/monitoring.md shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cli.flower import PASSWORD_FILE, USER
from cli.stack.stack import ROOT
from cli.stack.valkey import ValkeyServer, free_port
from tests.acceptance.command import plain_environ
from tests.acceptance.world import eventually

pytestmark = pytest.mark.deploy

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def shown(begins: str) -> str:
    """Return the block of the page that begins like this."""
    blocks = re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
    (found,) = (str(block) for block in blocks if block.startswith(begins))
    return found


def nginx(directory: Path, port: int, flower: int) -> list[str]:
    """Return how nginx runs with the page's block, in the foreground and with files of its own."""
    found = re.search(r"`(map \$http_upgrade .*?)`", PAGE)
    assert found
    paths = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    block = shown("location = /flower/metrics").replace("127.0.0.1:5555", f"127.0.0.1:{flower}")
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log stderr; events {{}} "
        f"http {{ access_log off; {paths} {found[1]} server {{ listen 127.0.0.1:{port}; {block} }} }}"
    )
    return ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")]


def caddy(directory: Path, port: int, flower: int) -> list[str]:
    """Return how Caddy runs with the page's block, without TLS: no name here has a certificate."""
    block = shown("trading.example.org").replace("127.0.0.1:5555", f"127.0.0.1:{flower}")
    block = block.replace("trading.example.org", f"http://127.0.0.1:{port}")
    (directory / "Caddyfile").write_text(f"{{\n admin off\n}}\n{block}")
    return ["caddy", "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES = {"nginx": nginx, "caddy": caddy}


@contextmanager
def running(command: list[str], log: Path, environ: dict[str, str]) -> Iterator[None]:
    """Run a program for as long as the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file, stderr=file)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, tuple[str, str]]]:
    """A Flower that lives at /flower: its port and what it asks for."""
    directory, port = tmp_path_factory.mktemp("flower"), free_port()
    server = ValkeyServer(directory / "valkey", environ=plain_environ())
    server.start()
    environ = plain_environ() | {"BROKER_URL": server.url, "CLEANBOOK_RUN_DIR": str(directory)}
    command = [sys.executable, "manage.py", "flower", f"--port={port}", "--url-prefix=flower"]
    try:
        server.wait_ready()
        with running(command, directory / "log", environ):
            answers(f"http://127.0.0.1:{port}/flower/healthcheck")
            yield port, (USER, (directory / PASSWORD_FILE).read_text().strip())
    finally:
        server.stop()


def answers(url: str) -> None:
    """Return once a server answers there, whatever it says."""

    def is_there() -> bool:
        try:
            return requests.get(url, timeout=10).status_code < 500
        except requests.RequestException:
            return False

    eventually(is_there, 60, what=url)


@pytest.mark.parametrize("name", PROXIES)
def test_flower_is_served_under_its_path_with_its_password_and_without_its_numbers(
    name: str, flower: tuple[int, tuple[str, str]], tmp_path: Path
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    port, (flower_port, credentials) = free_port(), flower
    environ = plain_environ() | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    with running(PROXIES[name](tmp_path, port, flower_port), tmp_path / "log", environ):
        url = f"http://127.0.0.1:{port}/flower"
        answers(f"{url}/healthcheck")
        assert requests.get(f"{url}/workers", timeout=60).status_code == 401
        page = requests.get(f"{url}/workers", auth=credentials, timeout=60)
        assert page.ok
        static = re.findall(r'href="(/flower/static/[^"?]+\.css)', page.text)
        assert static
        assert requests.get(f"http://127.0.0.1:{port}{static[0]}", timeout=60).ok
        assert requests.get(f"{url}/api/workers", auth=credentials, timeout=60).ok
        assert requests.get(f"{url}/metrics", auth=credentials, timeout=60).status_code == 404
        assert requests.get(f"http://127.0.0.1:{flower_port}/flower/metrics", timeout=60).ok
