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
    groups: dict[Tests, list[Mutant]] = {}
    for file in options.files:
        groups.setdefault(_tests_of(file), []).extend(mutants_of(file, options.lines))
    if options.list:
        print("\n".join(mutant.name for mutants in groups.values() for mutant in mutants))
        return 0
    survivors: list[Mutant] = []
    for tests, mutants in groups.items():
        left = _survivors(mutants, tests, options)
        if left is None:
            print("these tests fail without any mutant", file=sys.stderr)
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


#: Those that are tried first, and those for what they do not notice.
Tests = tuple[tuple[str, ...], tuple[str, ...]]


def _tests_of(file: str) -> Tests:
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


def _survivors(mutants: list[Mutant], kinds: Tests, options: argparse.Namespace) -> list[Mutant] | None:
    """Return the mutants that no test noticed, None when the tests fail without any."""
    started_s = time.monotonic()
    left, timed_out = mutants, 0
    for tests in kinds[: 1 if options.skip_later else None]:
        if not left or not tests:
            continue
        verdicts: dict[str, Verdict] = {}

        def tell(mutant: Mutant, verdict: Verdict, verdicts: dict[str, Verdict] = verdicts) -> None:
            verdicts[mutant.name + mutant.text] = verdict
            if verdict is not Verdict.KILLED:
                print(f"\n  {verdict}: {mutant.name}", flush=True)

        if not judge_all(left, tests, tell, timeout_s=options.timeout_s):
            return None
        timed_out += sum(verdict is Verdict.TIMED_OUT for verdict in verdicts.values())
        left = [mutant for mutant in left if verdicts[mutant.name + mutant.text] is Verdict.SURVIVED]
    print(
        f"\n{len(mutants)} mutants, {len(mutants) - len(left)} killed ({timed_out} of them by time), "
        f"{len(left)} survived, {time.monotonic() - started_s:.0f} s",
        flush=True,
    )
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        of_file = [mutant for mutant in left if mutant.file == file]
        count = sum(mutant.file == file for mutant in mutants)
        print(f"{file}: {count} mutants, {len(of_file)} survived", flush=True)
        for mutant in of_file:
            print(f"SURVIVED {mutant.name}", flush=True)
    return left


if __name__ == "__main__":
    sys.exit(main())
