"""Run tests on mutants: collected once, then in a fork for each mutant.

Most of what a mutant would cost is starting Python, loading libraries and collecting tests. So the tests are
collected on the project as it is, and each fork puts one mutant in place before it runs them.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.patching import put_in_place

ROOT = Path(__file__).parents[2]
#: For the tests on the project as it is; on a mutant they may take so many times as long.
BASE_TIMEOUT_S, TIMES = 900.0, 3


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    #: Nothing ended in time: an endless loop, which a test would notice, too.
    TIMED_OUT = "timed out"


class Judge:
    """A plugin of pytest that runs the collected tests once for each mutant, instead of once."""

    def __init__(
        self, mutants: Sequence[Mutant], told: Callable[[Mutant, Verdict], None], *, timeout_s: float
    ) -> None:
        self._mutants = mutants
        self._told = told
        self._timeout_s = timeout_s
        #: False: the tests fail on the project as it is, and say nothing about mutants.
        self.is_sound = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every mutant."""
        began_s = time.monotonic()
        # Twice: on a busy machine a test may fail for itself.
        tries = (self._judge(session, None, BASE_TIMEOUT_S) for _ in range(2))
        if session.testsfailed or Verdict.SURVIVED not in tries:
            return True
        self.is_sound = True
        # However busy this machine is.
        timeout_s = max(self._timeout_s, TIMES * (time.monotonic() - began_s))
        for mutant in self._mutants:
            self._told(mutant, self._judge(session, mutant, timeout_s))
        return True

    def _judge(self, session: pytest.Session, mutant: Mutant | None, timeout_s: float) -> Verdict:
        child = os.fork()
        if child == 0:
            _run(session, mutant)
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return Verdict.SURVIVED if os.waitstatus_to_exitcode(status) == 0 else Verdict.KILLED
            time.sleep(0.01)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return Verdict.TIMED_OUT


def judge_all(
    mutants: Sequence[Mutant],
    tests: Sequence[str],
    told: Callable[[Mutant, Verdict], None],
    *,
    timeout_s: float,
) -> bool:
    """Run `tests` on each of `mutants`, tell each verdict, and return whether the tests pass without any."""
    judge = Judge(mutants, told, timeout_s=timeout_s)
    pytest.main(["-q", "-p", "no:cacheprovider", "--tb=no", "--no-summary", *tests], plugins=[judge])
    return judge.is_sound


def _run(session: pytest.Session, mutant: Mutant | None) -> NoReturn:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    code = 1
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        if mutant is not None:
            put_in_place(mutant, folder)
        code = _run_tests(session)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)


def _run_tests(session: pytest.Session) -> int:
    items = session.items
    for index, item in enumerate(items):
        following = items[index + 1] if index + 1 < len(items) else None
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            # What the tests started has to end with them: the server, above all.
            session._setupstate.teardown_exact(None)
            return 1
    return 0
