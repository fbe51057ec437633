"""Run a program with a clock that is off: ``python skewed_clock.py OFFSET_S -m celery -A tasks worker ...``

What Python asks for is off: `time.time`, `time.time_ns` and the current time of `datetime`. The monotonic
clock stays right, as it does on a host whose time is set wrongly.
"""

from __future__ import annotations

import datetime
import runpy
import sys
import time
from pathlib import Path
from typing import Self

OFFSET_S = float(sys.argv[1])
_time, _time_ns = time.time, time.time_ns


class SkewedDatetime(datetime.datetime):
    """`datetime` whose now is off."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Self:
        """Return the wrong time."""
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Self:
        """Return the wrong time."""
        return cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Self:
        """Return the wrong time."""
        return cls.fromtimestamp(time.time())


def main() -> None:
    """Become the program."""
    time.time = lambda: _time() + OFFSET_S
    time.time_ns = lambda: _time_ns() + int(OFFSET_S * 1e9)
    datetime.datetime = SkewedDatetime  # type: ignore[misc]
    _, _, _, module, *arguments = sys.argv
    # As `python -m` does: the packages of the checkout come first.
    sys.path[0] = str(Path.cwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
