"""Prometheus and promtool as Debian's package has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from cli.stack.stack import ROOT
from cli.stack.valkey import free_port
from tests.acceptance.world import eventually

FILES = ROOT / "deploy" / "prometheus"


def program(name: str) -> str:
    """Return where a program is; end the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        told = f"{name} is missing; on Debian: apt-get install prometheus"
        if os.environ.get("CLEANBOOK_REQUIRE_SERVICES") == "1":
            pytest.fail(told)
        pytest.skip(told)
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    words = [program("promtool"), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression selects now. Fails for one that cannot be evaluated."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        told = answer.json()
        assert told["status"] == "success", f"{expression}: {told.get('error')}"
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are pending or firing, by name."""
        told = requests.get(f"{self.url}/api/v1/alerts", timeout=30).json()
        return {alert["labels"]["alertname"]: alert["state"] for alert in told["data"]["alerts"]}


@contextmanager
def scraping(target: str, password: Path, directory: Path) -> Iterator[Prometheus]:
    """Run Prometheus with our own configuration on one target, every second instead of every 15."""
    text = (FILES / "prometheus.yml").read_text(encoding="utf-8")
    text = re.sub(r"\b1[05]s\b", "1s", text).replace("127.0.0.1:9464", target)
    text = text.replace("/etc/prometheus/cleanbook-metrics-password", str(password))
    for name in ("rules.yml", "alerts.yml"):
        text = text.replace(f"- {name}", f"- {FILES / name}")
    config = directory / "prometheus.yml"
    config.write_text(text, encoding="utf-8")
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, (directory / "prometheus.log").read_text()
            try:
                return requests.get(f"{url}/-/ready", timeout=10).ok
            except requests.RequestException:
                return False

        eventually(answers, 60, what="Prometheus")
        yield Prometheus(url=url)
    finally:
        process.terminate()
        process.wait(60)
