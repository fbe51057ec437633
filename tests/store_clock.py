"""The state server's clock and process in the hands of a test: keys stand for what the scripts ask it."""

from __future__ import annotations

import redis

from state.scripts import Scripts, read_sources

CLOCK_KEY = "test:store_clock_ms"
SERVER_KEY = "test:store_server"
START_MS = 1_790_000_000_000
_READ_KEY = (
    f"(function() local ms = tonumber(redis.call('GET', '{CLOCK_KEY}')) "
    "return {math.floor(ms / 1000), ms % 1000 * 1000} end)()"
)
HISTORY_KEY = "test:store_history"
_READ_HISTORY = f"('master_replid:' .. (redis.call('GET', '{HISTORY_KEY}') or '0'))"
_READ_SERVER = f"('run_id:' .. redis.call('GET', '{SERVER_KEY}'))"


class StoreClock:
    """Time as the scripts of `scripts` see it; it stands still until a test moves it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.now_ms = START_MS
        self.advance(0)
        self.restart_server()
        sources = {
            name: text.replace("redis.call('TIME')", _READ_KEY)
            .replace("redis.call('INFO', 'server')", _READ_SERVER)
            .replace("redis.call('INFO', 'replication')", _READ_HISTORY)
            for name, text in read_sources().items()
        }
        self.scripts = Scripts(client, sources=sources)

    def advance(self, ms: int) -> None:
        """Let `ms` pass."""
        self.now_ms += ms
        self._client.set(CLOCK_KEY, self.now_ms)

    def restart_server(self) -> None:
        """Let another process of the server answer from now on, with the same data."""
        self._client.incr(SERVER_KEY)

    def lead_again(self) -> None:
        """Let the same process answer after another one has led: its history is another one."""
        self._client.incr(HISTORY_KEY)
