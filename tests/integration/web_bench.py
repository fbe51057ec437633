"""The HTTP API served by a real uvicorn on loopback, over a real state server; no workers, no exchange."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from cli.stack.valkey import free_port
from runner.config import InstanceConfig, load_instance, version_of
from settings import Settings
from state.events import Event
from tests.acceptance.world import eventually
from web.server import Server, server_for
from web.services import Services, open_services

PASSWORD = "correct horse battery"
#: A page of our own asks like this.
TIMEOUT_S = 30


class WebBench:
    """A running server, and a browser that has logged in."""

    def __init__(self, state_url: str, directory: Path, **more: Any) -> None:
        config_dir = directory / "instances"
        config_dir.mkdir()
        self.settings = Settings(
            state_url=state_url,
            broker_url=state_url,
            config_dir=config_dir,
            run_dir=directory / "run",
            ledger_url=f"sqlite:///{directory / 'ledger.sqlite'}",
            web_port=free_port(),
            web_password=PASSWORD,
            **more,
        )
        self.origin = f"http://127.0.0.1:{self.settings.web_port}"
        self.base = f"{self.origin}/api/v1"
        self.services: Services = open_services(self.settings)
        self.server: Server = server_for(self.settings, self.services)
        self._thread = threading.Thread(target=self.server.run, name="web")
        self._thread.start()
        eventually(lambda: self.server.started, what="the server")
        self.browser = requests.Session()
        self.csrf = ""

    def end(self) -> None:
        """End the server as a signal does, and wait for it."""
        self.server.should_exit = True
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the server did not end"
        self.browser.close()

    def log_in(self) -> None:
        """Log the browser in."""
        answer = self.browser.post(f"{self.base}/session", json={"password": PASSWORD}, timeout=TIMEOUT_S)
        assert answer.status_code == 204
        self.csrf = self.get("/session").json()["csrf"]

    def get(self, path: str, **headers: str) -> requests.Response:
        """Ask as the page does."""
        return self.browser.get(f"{self.base}{path}", headers=headers, timeout=TIMEOUT_S)

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Change something as the page does."""
        return self.browser.post(
            f"{self.base}{path}",
            json={} if body is None else body,
            headers={"X-CSRF-Token": self.csrf, **headers},
            timeout=TIMEOUT_S,
        )

    def configure(self, instance_id: str) -> InstanceConfig:
        """Write the file of an instance."""
        content = {
            "metadata": {
                "instance_id": instance_id,
                "exchange": "backpack",
                "symbol": "SOL_USDC",
                "market_type": "spot",
                "strategy": "standard",
            },
            "strategy_config": {"spread": "1", "quantity": "0.1", "enable_rebalance": False},
        }
        (self.settings.config_dir / f"{instance_id}.json").write_text(json.dumps(content))
        return load_instance(instance_id, self.settings.config_dir, {}).config

    def start(self, instance_id: str) -> int:
        """Let an instance run, as far as the state server knows; return the epoch."""
        config = self.configure(instance_id)
        result = self.services.context.instances.start(
            instance_id,
            config_version=version_of(config),
            config_json=config.to_json(),
            slot=7,
            account="backpack-simulated:test",
            by="test",
        )
        assert result.started
        return result.epoch

    def events(self, instance_id: str, kind: str) -> list[Event]:
        """Return the events of a kind."""
        found = self.services.context.events.of_instance(instance_id)
        return [event for event in found if event.event == kind]

    @contextmanager
    def stream(self, query: str = "", **headers: str) -> Iterator[Stream]:
        """Open an event stream."""
        with self.browser.get(
            f"{self.base}/events/stream{query}", headers=headers, stream=True, timeout=TIMEOUT_S
        ) as answer:
            yield Stream(answer)


class Stream:
    """An open event stream, read message by message."""

    def __init__(self, answer: requests.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines(chunk_size=1)

    def messages(self) -> Iterator[tuple[str, str, Any]]:
        """Yield event, id and data of each message, without a name for comments; ends with the stream."""
        event, stream_id, data = "", "", None
        for raw in self._lines:
            line = raw.decode()
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("id: "):
                stream_id = line[4:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line:
                yield event, stream_id, data
                event, stream_id, data = "", "", None

    def until(self, event: str) -> tuple[str, Any]:
        """Return id and data of the next message of a kind."""
        for name, stream_id, data in self.messages():
            if name == event:
                return stream_id, data
        raise AssertionError(f"the stream ended before {event}")


def code_of(answer: requests.Response) -> str:
    """Return what programs are told of an error."""
    code: str = answer.json()["error"]["code"]
    return code
