"""Who is asked when the state server goes away in the middle of many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from cli import asking
from cli.asking import ask_each
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.output import Output

NAMES = ("a", "b", "c")


def failing(times: int, error: Exception) -> Callable[[str], str]:
    """Return what fails so often for b."""
    left = [error] * times

    def ask(name: str) -> str:
        if name == "b" and left:
            raise left.pop()
        return name.upper()

    return ask


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_S", 0.0)


@pytest.mark.parametrize("error", [redis.ConnectionError("gone"), redis.TimeoutError("slow")])
def test_an_answer_that_is_lost_is_asked_for_again_and_that_is_told_once(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask_each(Output(), NAMES, failing(3, error)) == {"a": "A", "b": "B", "c": "C"}
    assert capsys.readouterr().err.count("the state server does not answer; trying on") == 1


def test_in_the_end_it_is_told_who_was_asked_and_who_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRY_ON_S", 0.0)
    with pytest.raises(CliError, match="gone") as told:
        ask_each(Output(), NAMES, failing(10_000, redis.ConnectionError("gone")))
    assert "\nasked: a; not known to be asked: b, c; the same" in str(told.value)
    assert told.value.code is ExitCode.UNREACHABLE


def test_where_nothing_is_changed_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRY_ON_S", 0.0)
    with pytest.raises(redis.ConnectionError):
        ask_each(Output(), NAMES, failing(10_000, redis.ConnectionError("gone")), changes=False)


@pytest.mark.parametrize("error", [redis.AuthenticationError("no"), redis.ResponseError("no")])
def test_what_does_not_pass_is_no_matter_of_patience(error: Exception) -> None:
    with pytest.raises(type(error)):
        ask_each(Output(), NAMES, failing(1, error))
