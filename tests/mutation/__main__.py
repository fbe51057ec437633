"""`python -m tests.mutation FILE...`: change one thing at a time, and list what no test notices."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.lua_mutants import lua_mutants
from tests.mutation.mutants import Mutant
from tests.mutation.python_mutants import python_mutants
from tests.mutation.running import ROOT, Verdict, judge_all
from tests.mutation.targets import TARGETS


def main() -> int:
    """Run; return 1 when a mutant survived, 2 when the tests fail without any."""
    options = _options()
    survivors: list[Mutant] = []
    for file in options.files:
        left = _survivors(file, options)
        if left is None:
            print(f"{file}: its tests fail without any mutant", file=sys.stderr)
            return 2
        survivors += left
    return 1 if survivors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="from the root: state/due.py")
    parser.add_argument("--lines", default="", help="only these lines of the file: 10-25")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--timeout-s", type=float, default=10.0, help="least time for one mutant's tests")
    parser.add_argument("--skip-later", action="store_true", help="without the slower tests for survivors")
    return parser.parse_args()


def _tests_of(file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    for pattern, tests in TARGETS.items():
        if fnmatch.fnmatch(file, pattern):
            return tests
    raise SystemExit(f"no tests are named for {file}: add it to tests/mutation/targets.py")


def mutants_of(file: str, lines: str = "") -> Iterator[Mutant]:
    """Yield the mutants of a file, of some of its lines only where they are given."""
    text = (ROOT / file).read_text(encoding="utf-8")
    first, _, last = lines.partition("-")
    made = lua_mutants(file, text) if Path(file).suffix == ".lua" else python_mutants(file, text)
    for mutant in made:
        if not lines or int(first) <= mutant.line <= int(last or first):
            yield mutant


def _survivors(file: str, options: argparse.Namespace) -> list[Mutant] | None:
    """Return the mutants of a file that no test noticed, None when the tests fail without any."""
    started_s = time.monotonic()
    left = list(mutants_of(file, options.lines))
    if options.list:
        print("\n".join(mutant.name for mutant in left))
        return []
    count, timed_out = len(left), 0
    for tests in _tests_of(file)[: 1 if options.skip_later else None]:
        if not left or not tests:
            continue
        verdicts: dict[str, Verdict] = {}

        def tell(mutant: Mutant, verdict: Verdict, verdicts: dict[str, Verdict] = verdicts) -> None:
            verdicts[mutant.name + mutant.text] = verdict
            if verdict is Verdict.SURVIVED:
                print(f"\n  {mutant.name}", flush=True)

        if not judge_all(left, tests, tell, timeout_s=options.timeout_s):
            return None
        timed_out += sum(verdict is Verdict.TIMED_OUT for verdict in verdicts.values())
        left = [mutant for mutant in left if verdicts[mutant.name + mutant.text] is Verdict.SURVIVED]
    spent_s = time.monotonic() - started_s
    print(
        f"\n{file}: {count} mutants, {count - len(left)} killed ({timed_out} of them by time), "
        f"{len(left)} survived, {spent_s:.0f} s",
        flush=True,
    )
    for mutant in left:
        print(f"SURVIVED {mutant.name}", flush=True)
    return left


if __name__ == "__main__":
    sys.exit(main())
