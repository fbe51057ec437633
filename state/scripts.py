"""Load the Lua scripts once, by file name, and call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline
    from redis.commands.core import Script

LUA_DIR = Path(__file__).parent / "lua"
#: A line that stands for what several scripts have in common.
INCLUDE = re.compile(r"^-- include (parts/\w+\.lua)\n", re.MULTILINE)

#: What a script of ours returns: a flat list of integers and strings, or an integer.
Reply = list[int | str]


class Scripts:
    """The scripts of `state/lua`, registered with one client when made."""

    def __init__(self, client: redis.Redis, *, sources: dict[str, str] | None = None) -> None:
        self._sources = sources or read_sources()
        self._scripts: dict[str, Script] = {
            name: client.register_script(source) for name, source in self._sources.items()
        }

    def call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        """Run script `name` and return its list."""
        return cast("Reply", self._scripts[name](keys=list(keys), args=list(args)))

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
