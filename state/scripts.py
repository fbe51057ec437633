"""Load the Lua scripts once, by file name, and call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from state.connection import StateError, is_led_by_sentinels

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline
    from redis.commands.core import Script

LUA_DIR = Path(__file__).parent / "lua"
#: A line that stands for what several scripts have in common.
INCLUDE = re.compile(r"^-- include (parts/\w+\.lua)\n", re.MULTILINE)
#: Has a server that must not write refuse a script as a whole (Redis 7, Valkey), and not at its first write:
#: one that was replaced would say "stale" of what it has not heard of, and whoever asked would believe it.
MAY_WRITE = "#!lua\n"

#: How long a replica may take to confirm what a script has written, ms: well below any lease.
CONFIRM_MS = 1_000

#: What a script of ours returns: a flat list of integers and strings, or an integer.
Reply = list[int | str]


class Unconfirmed(StateError):
    """Raised when no replica has what a script has written, so that another server may lead by now."""


class Scripts:
    """The scripts of `state/lua`, registered with one client when made."""

    def __init__(self, client: redis.Redis, *, sources: dict[str, str] | None = None) -> None:
        self._client = client
        self._is_led = is_led_by_sentinels(client)
        head = MAY_WRITE if self._is_led else ""
        self._sources = {name: head + source for name, source in (sources or read_sources()).items()}
        self._scripts: dict[str, Script] = {
            name: client.register_script(source) for name, source in self._sources.items()
        }

    def call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        """Run script `name` and return its list."""
        return cast("Reply", self._scripts[name](keys=list(keys), args=list(args)))

    def call_confirmed(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        """Run script `name` and return its list; led by Sentinels, once a replica has what it wrote.

        A server that was replaced has no replica left that would confirm anything. Raises `Unconfirmed`.
        """
        if not self._is_led:
            return self.call(name, keys, args)
        # One connection for both: on another one, another server might confirm.
        pipeline = self._client.pipeline(transaction=False)
        self.queue(pipeline, name, keys, args)
        pipeline.wait(1, CONFIRM_MS)
        reply, replicas = pipeline.execute()
        if not int(replicas):
            raise Unconfirmed("no replica of the state server has confirmed it, another one may lead by now")
        return cast("Reply", reply)

    def queue(self, pipeline: Pipeline, name: str, keys: Sequence[str], args: Sequence[str | int]) -> None:
        """Run script `name` when `pipeline` is executed."""
        # By its text: a registered one costs a round trip of its own before each pipeline, to see whether the
        # server still has it.
        pipeline.eval(self._sources[name], len(keys), *keys, *(str(argument) for argument in args))

    def call_int(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> int:
        """Run script `name`, which returns one integer."""
        return cast("int", self._scripts[name](keys=list(keys), args=list(args)))


def read_sources() -> dict[str, str]:
    """Return every script's text by its name, with the parts that it includes."""
    return {
        path.stem: _with_parts(path.read_text(encoding="utf-8")) for path in sorted(LUA_DIR.glob("*.lua"))
    }


def _with_parts(text: str) -> str:
    return INCLUDE.sub(lambda found: (LUA_DIR / found[1]).read_text(encoding="utf-8"), text)
