"""Writes down every lifecycle event and every claim and commit, as long as the state server answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from state import keys
from state.connection import connect_impatiently
from tests.chaos.plant import now_ms

#: Kept apart by their names in the folder.
EVENTS_FILE = "events.jsonl"
TRACE_FILE = "trace.jsonl"
RETRY_S = 0.1
BLOCK_MS = 200
#: An iteration that was claimed less than this ago may be at work.
STILL_RUNNING_MS = 4_500
#: Entries of a stream that are read at once.
MOST = 500


class Recorder(threading.Thread):
    """Follows the streams; what it has seen stays, whatever the server forgets later."""

    def __init__(self, state_url: str, instance_ids: Sequence[str], folder: Path) -> None:
        super().__init__(name="recorder", daemon=True)
        self.events: list[dict[str, Any]] = []
        self.trace: list[dict[str, Any]] = []
        self._names = {keys.EVENTS: ""} | {keys.trace(name): name for name in instance_ids}
        self._positions = dict.fromkeys(self._names, "0-0")
        self._client = connect_impatiently(state_url, timeout_s=2.0)
        self._events_file = (folder / EVENTS_FILE).open("a", encoding="utf-8")
        self._trace_file = (folder / TRACE_FILE).open("a", encoding="utf-8")
        self._ended = threading.Event()
        #: When everything up to then had been read, ms.
        self.read_until_ms = 0

    def run(self) -> None:
        """Follow until `end`."""
        while not self._ended.is_set():
            began_ms = now_ms()
            try:
                reply: Any = self._client.xread(dict(self._positions), count=MOST, block=BLOCK_MS)  # type: ignore[arg-type]
            except redis.RedisError:
                self._ended.wait(RETRY_S)
                continue
            longest = 0
            for stream, entries in dict(reply or {}).items():
                found = entries[0] if isinstance(reply, dict) else entries
                longest = max(longest, len(found))
                for stream_id, fields in found:
                    self._positions[stream] = stream_id
                    self._keep(self._names[stream], stream_id, fields)
            if longest < MOST:  # there is nothing more from before the question
                self.read_until_ms = began_ms

    def uncommitted(self, *, since_ms: int) -> list[str]:
        """Return the instances of claims since then that nobody has committed, apart from the latest."""
        recent = [step for step in list(self.trace) if int(step["at_ms"]) >= since_ms]
        committed = {step["token"] for step in recent if step["event"] == "committed"}
        return [
            step["instance"]
            for step in recent
            if step["event"] == "claimed"
            and step["token"] not in committed
            and int(step["at_ms"]) < self.read_until_ms - STILL_RUNNING_MS
        ]

    def end(self) -> None:
        """Stop following, and close the files."""
        self._ended.set()
        self.join(timeout=5)
        self._events_file.close()
        self._trace_file.close()
        self._client.close()

    def _keep(self, instance_id: str, stream_id: str, fields: dict[str, str]) -> None:
        entry: dict[str, Any] = {"id": stream_id, "seen_at_ms": now_ms(), **fields}
        if instance_id:
            entry["instance"] = instance_id
            self.trace.append(entry)
            file = self._trace_file
        else:
            self.events.append(entry)
            file = self._events_file
        file.write(json.dumps(entry) + "\n")
        file.flush()
