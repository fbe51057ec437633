"""Moments as people write them: ISO dates and times in UTC, or how long ago."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from cli.language import tr

F = TypeVar("F", bound=Callable[..., Any])

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_when(text: str, *, now_ms: int) -> int:
    """Return the moment that `text` names, ms since 1970 (not before); `2h` is two hours before `now_ms`.

    Raises `ValueError` for anything else than an ISO date or time, or a length of time with its unit.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    if ago:
        return max(0, now_ms - int(float(ago[1]) * _UNIT_MS[ago[2]]))
    moment = datetime.fromisoformat(text.strip())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, round(aware.timestamp() * 1000))


def since_option(function: F) -> F:
    """Add ``--since``, given to the command as `since_ms`."""
    return _option("--since", "since_ms", "Nothing older: an ISO date or time (UTC), or 30m, 2h, 3d ago.")(
        function
    )


def until_option(function: F) -> F:
    """Add ``--until``, given to the command as `until_ms`."""
    return _option("--until", "until_ms", "Only what is older; written like --since.")(function)


def _option(flag: str, name: str, text: str) -> Callable[[F], F]:
    return click.option(flag, name, callback=_moment, metavar="WHEN", help=text)


def _moment(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_when(text, now_ms=time.time_ns() // 1_000_000)
    except (ValueError, OverflowError):
        message = tr(
            "{text} is no moment; write 2026-03-01, 2026-03-01T14:30 (UTC unless it says otherwise), "
            "30m, 2h or 3d",
            text=repr(text),
        )
        raise click.BadParameter(message, context, parameter) from None
