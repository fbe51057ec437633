"""One state server for all forks: starting one for each mutant would take most of the time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.stack.valkey import ValkeyServer


class SharedServer:
    """Stands for the fixture `valkey_server`; each test empties the server before it uses it."""

    def __init__(self, session: pytest.Session) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mutants-valkey-")
        self._server = self._start()
        shared = self

        def valkey_server(tmp_path_factory: Any) -> ValkeyServer:
            return shared._server

        for item in session.items:
            for fixture in session._fixturemanager.getfixturedefs("valkey_server", item) or ():
                vars(fixture)["func"] = valkey_server

    def see_that_it_runs(self) -> None:
        """Start another one where a test has ended this one."""
        try:
            with redis.Redis.from_url(self._server.url, socket_timeout=5.0) as client:
                client.ping()
        except redis.RedisError:
            self._server.stop()
            self._server = self._start()

    def end(self) -> None:
        """Stop it: what is left of one session would end in another one's tests."""
        self._server.stop()
        self._folder.cleanup()

    def _start(self) -> ValkeyServer:
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        server = ValkeyServer(folder, environ={"PATH": os.environ.get("PATH", "")})
        server.start()
        server.wait_ready()
        return server
