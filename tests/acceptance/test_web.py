"""An instance from start to proof over HTTP: real workers, simulated exchange, the server as users run it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from cli.stack.stack import ROOT
from cli.stack.valkey import free_port
from cli.web import PASSWORD_FILE
from tests.acceptance.command import command_for
from tests.acceptance.conftest import LIVE_KEY, LIVE_KEYS, LIVE_SECRET
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance
TIMEOUT_S = 60


@dataclass(kw_only=True)
class Client:
    """A program with a token; keeps every answer."""

    base: str
    headers: dict[str, str]
    answers: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Send a request and return the answer."""
        answer = requests.request(
            method, f"{self.base}{path}", json=body, headers=self.headers, timeout=TIMEOUT_S
        )
        self.answers.append(answer.text)
        return answer

    def stream(self, query: str = "") -> Iterator[tuple[str, Any]]:
        """Yield events and their data as they come."""
        with requests.get(
            f"{self.base}/events/stream{query}", headers=self.headers, stream=True, timeout=TIMEOUT_S
        ) as answer:
            event = ""
            for raw in answer.iter_lines(chunk_size=1):
                line = raw.decode()
                self.answers.append(line)
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    yield event, json.loads(line[6:])


@contextmanager
def running_web(world: World, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `manage.py web` beside the stack; yield its address."""
    port = free_port()
    environ = command_for(world.stack.options.run_dir, world.config_dir, **LIVE_KEYS).environ
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "web", f"--port={port}"],
            cwd=ROOT,
            env=dict(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        base = f"http://127.0.0.1:{port}/api/v1"

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return requests.get(f"{base}/health", timeout=TIMEOUT_S).ok
            except requests.RequestException:
                return False

        try:
            eventually(is_up, 60, what="the server")
            yield base, process
        finally:
            process.kill()
            process.wait()


@pytest.mark.timeout(240)
def test_an_instance_runs_from_start_to_proof_over_http(world: World, tmp_path: Path) -> None:
    manage = command_for(world.stack.options.run_dir, world.config_dir, **LIVE_KEYS)
    token = manage("web-token", "robot", "--json").json["token"]
    log = tmp_path / "web.log"
    # The keys of a live account are at hand, and in this file are their names.
    exchange = {
        "api_key": "${BACKPACK_KEY}",
        "secret_key": "${BACKPACK_SECRET}",
        "base_url": world.exchange.url,
    }
    name = world.configure("over_http_01", top={"live": True}, exchange=exchange)
    with running_web(world, log) as (base, process):
        client = Client(base=base, headers={"Authorization": f"Bearer {token}"})
        assert requests.post(f"{base}/instances/{name}/start", json={}, timeout=TIMEOUT_S).status_code == 401
        assert world.context.instances.read(name) is None

        started = client.ask("POST", f"/instances/{name}/start", {})
        assert (started.status_code, started.json()["result"]) == (202, "started"), started.text
        world.started.append(name)
        eventually(
            lambda: len(client.ask("GET", f"/instances/{name}/quotes").json()["quotes"]) == 6,
            what="six quotes",
        )

        def quoting() -> dict[str, Any] | None:
            found: dict[str, Any] = client.ask("GET", f"/instances/{name}").json()
            return found if found["open_orders"] == 6 else None

        row = eventually(quoting, what="a row with six orders")
        assert (row["phase"], row["live"]) == ("running", True)
        assert row["started_by"] == "robot (web token, 127.0.0.1)"
        assert row["config"]["exchange_config"]["api_key"] == "${BACKPACK_KEY}"
        eventually(
            lambda: client.ask("GET", f"/instances/{name}/market").json()["mid"],
            what="a market from the feed",
        )

        phases: list[str] = []
        stop = threading.Timer(0.5, client.ask, ("POST", f"/instances/{name}/stop", {"reason": "enough"}))
        stop.start()
        for event, data in client.stream(f"?instance={name}"):
            if event == "lifecycle" and data["phase"]:
                phases.append(data["phase"])
            if event == "lifecycle" and data["event"] == "finished":
                break
        stop.join()
        assert [phases[0], phases[1], *phases[-2:]] == [
            "stop requested",
            "cleanup claimed",
            "verified",
            "stopped",
        ]
        assert world.exchange.open_order_ids("other", slot=world.slot(name)) == set()
        receipt = client.ask("GET", f"/instances/{name}/receipt").json()["receipt"]
        assert (receipt["clean"], len(receipt["cancelled_order_ids"])) == (True, 6)
        assert receipt["asked"][0]["by"] == "robot (web token, 127.0.0.1)"
        assert len(receipt["last_lists"]) == 2
        orders = client.ask("GET", f"/instances/{name}/orders").json()["orders"]
        assert len(orders) >= 6
        for path in ("fills", "pnl", "series", "receipts", "config", "events"):
            assert client.ask("GET", f"/instances/{name}/{path}").status_code == 200
        events = client.ask("GET", f"/instances/{name}/events").json()["events"]
        audits = [each["fields"]["action"] for each in events if each["event"] == "audit"]
        assert audits == ["start", "stop"]

        command_line = " ".join(psutil.Process(process.pid).cmdline())
        heard = len(client.answers)
        listener = threading.Thread(target=lambda: list(client.stream()))
        listener.start()
        eventually(lambda: "event: hello" in client.answers[heard:], what="a listener")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        listener.join(60)
        assert not listener.is_alive()

    password = (world.stack.options.run_dir / PASSWORD_FILE).read_text().strip()
    kept = (world.stack.options.run_dir / "web-tokens.json").read_text()
    said = [*client.answers, log.read_text(), command_line, kept]
    for secret in (LIVE_SECRET, LIVE_KEY, password, token):
        assert [text for text in said if secret in text] == []
    assert re.search(r'"audit"', log.read_text())
