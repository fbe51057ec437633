"""Arguments and options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.language import tr
from cli.names import complete_instance
from cli.output import Output
from settings import environment

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A length of time above zero; `nan` and `inf`, which pass for one, are none."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of seconds."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(tr("{value} is no number of seconds.", value=repr(value)), param, ctx)
        return found


def names_argument(*, required: bool) -> Callable[[F], F]:
    """Take names of instances."""
    return click.argument(
        "names",
        nargs=-1,
        required=required,
        metavar="NAME..." if required else "[NAME]...",
        shell_complete=complete_instance,
    )


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object.")(function)


def debug_option(function: F) -> F:
    """Add ``--debug``; `cli.main` looks for it by itself, since errors happen before parsing, too."""
    return click.option("--debug", is_flag=True, help="Show tracebacks and logs.", expose_value=True)(
        function
    )


def timeout_option(default_s: float) -> Callable[[F], F]:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=Seconds(),
        default=default_s,
        show_default=True,
        metavar="S",
        help="Give up watching after this many seconds; the work goes on.",
    )


def output_for(as_json: bool) -> Output:
    """Return where to speak; works with settings that are wrong, too."""
    return Output(as_json=as_json, no_color=environment().get("NO_COLOR", ""))
