"""A desk: a running stack on a moving market, the web process, and what a test does with both."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Playwright

from cli.stack.stack import ROOT, Stack, StackOptions
from cli.stack.valkey import free_port
from runner.context import open_context
from tests.acceptance.command import plain_environ
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import World, eventually

PASSWORD = "only-for-this-desk"
#: Names under which systems install it.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = (
    "no Chromium was found: `make test-web` installs it as root; otherwise `sudo apt install chromium`"
)
#: How strategies of a desk are set up, by name of the instance. A ladder that follows the price makes a
#: request for each order that it takes back; all of a desk together may make 1800 a minute.
INSTANCES: Mapping[str, Mapping[str, Any]] = {
    "bp_sol_01": {
        "spread": "0.1",
        "quantity": "0.5",
        "layer_step_bps": 2,
        "refresh_tolerance_bps": "1.5",
        "interval": "1",
    },
    "bp_eth_02": {
        "symbol": "ETH_USDC",
        "spread": "0.2",
        "quantity": "0.05",
        "max_orders": 5,
        "layer_step_bps": 4,
        "refresh_tolerance_bps": "2",
        "interval": "2",
    },
}


class NoBrowser(Exception):
    """Raised where no Chromium is installed; says what to do."""


def launch(playwright: Playwright) -> Browser:
    """Return the system's Chromium. Raises `NoBrowser`."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowser(NO_BROWSER)
    # Chromium's own sandbox cannot be set up by root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=found, args=arguments)


@dataclass(kw_only=True)
class WebProcess:
    """The web server as a process of its own, always on the same port."""

    environ: Mapping[str, str] = field(repr=False)
    log_file: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environ = {**self.environ, "CLEANBOOK_WEB_PORT": str(self.port), "CLEANBOOK_WEB_PASSWORD": PASSWORD}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "web"], cwd=ROOT, env=environ, stdout=log, stderr=log
            )
        eventually(self._answers, what="the web process")

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it properly."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log_file.read_text()
        try:
            return requests.get(f"{self.url}api/v1/health", timeout=2).ok
        except requests.RequestException:
            return False


@dataclass(kw_only=True)
class Desk:
    """Everything that a test of the page needs."""

    world: World
    web: WebProcess

    def configure(self, instance_id: str) -> None:
        """Write the file of one of `INSTANCES`."""
        chosen = dict(INSTANCES[instance_id])
        symbol = chosen.pop("symbol", "SOL_USDC")
        self.world.configure(instance_id, **chosen)
        path = self.world.config_dir / f"{instance_id}.json"
        content = json.loads(path.read_text())
        content["metadata"]["symbol"] = symbol
        path.write_text(json.dumps(content))

    def run(self, instance_id: str) -> None:
        """Start one of `INSTANCES`, and wait until its orders rest."""
        self.configure(instance_id)
        self.world.start(instance_id)
        eventually(
            lambda: self.world.exchange.open_order_ids(slot=self.world.slot(instance_id)), what="orders"
        )


@contextmanager
def open_desk(folder: Path) -> Iterator[Desk]:
    """Run a stack and the web process below `folder`. Raises `ServerNotFound`."""
    config_dir = folder / "instances"
    config_dir.mkdir()
    stack = Stack(StackOptions(run_dir=folder / "run", config_dir=config_dir, environ=plain_environ()))
    with stack:
        context = open_context(stack.settings())
        exchange = SimulatedExchange(stack.simulator_url)
        environ = plain_environ() | {
            "CLEANBOOK_RUN_DIR": str(folder / "run"),
            "CLEANBOOK_CONFIG_DIR": str(config_dir),
        }
        web = WebProcess(environ=environ, log_file=folder / "web.log")
        try:
            web.start()
            yield Desk(
                world=World(stack=stack, context=context, exchange=exchange, config_dir=config_dir), web=web
            )
        finally:
            web.stop()
            exchange.close()
            context.client.close()
