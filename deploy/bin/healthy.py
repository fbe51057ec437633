#!/usr/bin/env python
"""Tell whether the process of this container works: exit code 0 or 1. For health checks and liveness probes.

    healthy.py                                       a worker, feed or guard of this host has told of itself
    healthy.py http://127.0.0.1:8700/api/v1/health   a page answers

While the state server is away the answer is 0: everything of ours waits for it, and a restart helps nobody.
"""

from __future__ import annotations

import json
import platform
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import redis

from settings import load
from state import keys
from state.connection import connect_impatiently

#: Heartbeats come once a second; twice a service manager's patience is not yet a reason to kill.
OLDEST_MS = 15_000
TIMEOUT_S = 2.0


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    return int(not (answers(arguments[0]) if arguments else beats(platform.node())))


def answers(url: str) -> bool:
    """Tell whether a page of this host answers."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        print(f"{url}: {error}")  # noqa: T201
        return False


def beats(host: str) -> bool:
    """Tell whether anything of ours on `host` has told of itself just now, or nobody can tell."""
    client = connect_impatiently(load().state_url, timeout_s=TIMEOUT_S)
    try:
        seconds, _ = client.time()
        names = (keys.WORKERS, keys.FEEDS, keys.GUARDS)
        found = [cast("dict[str, str]", client.hgetall(name)) for name in names]
    except redis.RedisError as error:
        print(f"the state server does not answer, which is no fault of this process: {error}")  # noqa: T201
        return True
    finally:
        client.close()
    ages_ms = [
        int(seconds) * 1000 - int(json.loads(text)["at_ms"])
        for each in found
        for name, text in each.items()
        if name.endswith(f"@{host}") or name.startswith(f"{host}:")
    ]
    if not ages_ms or min(ages_ms) > OLDEST_MS:
        print(f"nothing on {host} has told of itself for {min(ages_ms, default=0)} ms")  # noqa: T201
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
