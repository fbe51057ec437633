"""Ask the state server about one instance after another, and try on for a while where it goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import redis

from cli.errors import CliError, explain
from cli.exit_codes import ExitCode
from cli.language import tr
from cli.output import Output

#: A state server that has been away for so long is given up.
TRY_ON_S = 10.0
PAUSE_S = 0.2

T = TypeVar("T")


def ask_each(
    output: Output, names: Sequence[str], ask: Callable[[str], T], *, changes: bool = True
) -> dict[str, T]:
    """Return what `ask` answers for each name. Where an answer is lost it is asked again.

    When the server stays away, raises `CliError` that tells for whom that was done which `changes` something,
    and for whom not; else what the client raises.
    """
    answers: dict[str, T] = {}
    is_told = False
    for name in names:
        began_s = time.monotonic()
        while name not in answers:
            try:
                answers[name] = ask(name)
            except redis.AuthenticationError:
                raise
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if time.monotonic() - began_s >= TRY_ON_S:
                    if not changes:
                        raise
                    raise _given_up(error, asked=list(answers), names=names) from error
                if not is_told:
                    output.say(tr("the state server does not answer; trying on"))
                is_told = True
                threading.Event().wait(PAUSE_S)
    return answers


def _given_up(error: Exception, *, asked: Sequence[str], names: Sequence[str]) -> CliError:
    told = tr(
        "asked: {asked}; not known to be asked: {left}; the same command again asks all of them",
        asked=", ".join(asked) or tr("none"),
        left=", ".join(name for name in names if name not in asked),
    )
    return CliError(f"{explain(error).message}\n{told}", ExitCode.UNREACHABLE)
