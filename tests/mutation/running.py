"""Run tests on mutants: collected once, then in a fork for each mutant.

Most of what a mutant would cost is starting Python, loading libraries and collecting tests. So the tests are
collected on the project as it is, and each fork puts one mutant in place before it runs those that reach it:
what killed the mutants before it comes first, then the quickest. A test counts as failed when it fails twice.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant
from tests.mutation.patching import put_in_place
from tests.mutation.reach import parts_of, recording
from tests.mutation.sharing import SharedServer

ROOT = Path(__file__).parents[2]
#: For the tests on the project as it is; on a mutant they may take so many times as long.
BASE_TIMEOUT_S, TIMES = 900.0, 3
#: The tests say nothing when more than one in so many fails without any mutant.
MOST_FAILED = 20


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    #: Nothing ended in time: an endless loop, which a test would notice, too.
    TIMED_OUT = "timed out"


@dataclass(kw_only=True)
class Known:
    """What is known of the tests: by their place among those collected."""

    #: What each runs of the file that is changed.
    reached: dict[int, list[str]]
    #: How long each takes, s.
    took_s: dict[int, float]
    #: Those that have killed a mutant, the latest first.
    killers: list[int] = field(default_factory=list)

    def choose(self, parts: set[str] | None) -> list[int]:
        """Return the tests that can notice a change in `parts`, the likeliest and quickest first."""
        able = [each for each, seen in self.reached.items() if parts is None or parts & set(seen)]
        rank = {each: place for place, each in enumerate(self.killers)}
        return sorted(able, key=lambda each: (rank.get(each, len(rank)), self.took_s[each]))

    def note_killer(self, test: int) -> None:
        """Let a test come first from now on."""
        self.killers = [test, *(each for each in self.killers if each != test)]


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
        server = SharedServer(session)
        try:
            self._judge(session, server)
        finally:
            server.end()
        return True

    def _judge(self, session: pytest.Session, server: SharedServer) -> None:
        began_s = time.monotonic()
        files = {mutant.file for mutant in self._mutants}
        verdict, said = _in_child(lambda tell: _measure(session, files, tell), BASE_TIMEOUT_S)
        if session.testsfailed or verdict is not Verdict.SURVIVED:
            return
        self.is_sound = True
        if said["failed"]:
            sys.stdout.write(f"\nleft out, they fail without any mutant: {', '.join(said['failed'])}\n")
        known = Known(reached=_by_place(said["reached"]), took_s=_by_place(said["took_s"]))
        # However busy this machine is.
        timeout_s = max(self._timeout_s, TIMES * (time.monotonic() - began_s))
        texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in files}
        for mutant in self._mutants:
            server.see_that_it_runs()
            order = known.choose(parts_of(mutant.file, texts[mutant.file], mutant.line))
            verdict, said = _in_child(lambda tell, m=mutant, o=order: _try(session, m, o, tell), timeout_s)  # type: ignore[misc]
            if "killer" in said:
                known.note_killer(said["killer"])
            self._told(mutant, verdict)


def judge_all(
    mutants: Sequence[Mutant],
    tests: Sequence[str],
    told: Callable[[Mutant, Verdict], None],
    *,
    timeout_s: float,
) -> bool:
    """Run `tests` on each of `mutants`, and tell each verdict; False: they fail without any."""
    judge = Judge(mutants, told, timeout_s=timeout_s)
    pytest.main(["-q", "-p", "no:cacheprovider", "--tb=no", "--no-summary", *tests], plugins=[judge])
    return judge.is_sound


#: Says something (JSON) to the process that judges.
Tell = Callable[[Any], None]


def _in_child(work: Callable[[Tell], int], timeout_s: float) -> tuple[Verdict, dict[str, Any]]:
    """Run `work` in a fork; return what its exit code means, and what it said."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    said = folder / "said"
    child = os.fork()
    if child == 0:
        _work_as_child(work, said)
    until, verdict = time.monotonic() + timeout_s, Verdict.TIMED_OUT
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            verdict = Verdict.SURVIVED if os.waitstatus_to_exitcode(status) == 0 else Verdict.KILLED
            break
        time.sleep(0.01)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    heard = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {}
    shutil.rmtree(folder, ignore_errors=True)
    return verdict, heard


def _work_as_child(work: Callable[[Tell], int], said: Path) -> NoReturn:
    # A group, not a session: that would get a priority of its own.
    os.setpgid(0, 0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    code = 1
    try:
        code = work(lambda what: _write(said, what))
    finally:
        os._exit(code)


def _write(said: Path, what: Any) -> None:
    said.write_text(json.dumps(what), encoding="utf-8")


def _by_place(of: dict[str, Any]) -> dict[int, Any]:
    return {int(place): value for place, value in of.items()}


def _measure(session: pytest.Session, files: Collection[str], tell: Tell) -> int:
    """Run all tests on the project as it is, and say what each reaches and how long it takes."""
    reached: dict[int, list[str]] = {}
    took_s: dict[int, float] = {}
    failed: list[str] = []
    with recording(files) as seen:
        for place, item in enumerate(session.items):
            began_s = time.monotonic()
            following = session.items[place + 1] if place + 1 < len(session.items) else None
            if _passes(session, item, following):
                took_s[place], reached[place] = time.monotonic() - began_s, sorted(seen)
            else:
                failed.append(item.nodeid)
            seen.clear()
    tell({"reached": reached, "took_s": took_s, "failed": failed})
    # One or two may fail for themselves where the machine is busy.
    return 0 if len(reached) > MOST_FAILED * len(failed) else 1


def _try(session: pytest.Session, mutant: Mutant, order: Sequence[int], tell: Tell) -> int:
    """Run the tests on a mutant until one fails; return 0 when none does."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        put_in_place(mutant, Path(folder))
        for here, place in enumerate(order):
            following = session.items[order[here + 1]] if here + 1 < len(order) else None
            if not _passes(session, session.items[place], following):
                tell({"killer": place})
                # What the tests started has to end with them: the server, above all.
                session._setupstate.teardown_exact(None)
                return 1
    return 0


def _passes(session: pytest.Session, item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test, and once more when it fails: on a busy machine it may fail for itself."""
    for _ in range(2):
        before = session.testsfailed
        item._initrequest()  # type: ignore[attr-defined]
        runtestprotocol(item, nextitem=following)
        if session.testsfailed == before:
            return True
        session.testsfailed = before
    return False
