"""Check the model of the lifecycle protocol with `spin`, and the check itself: each rule left out must show.

Exit codes:
  0  everything came out as expected
  1  something did not: the protocol or the model is wrong
  2  wrong usage
  4  spin or gcc is not installed
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.model.spin import ModelError, Verdict, check, missing_programs, replay
from tests.model.trail import in_words
from tests.model.variants import GROUPS, PROPERTIES, SAFETY, VARIANTS, Variant

AS_EXPECTED, UNEXPECTED, BAD_USAGE, NOT_INSTALLED = 0, 1, 2, 4
HEADER = ("variant", "checked", "result", "states", "depth", "seconds", "what it is")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant with its verdict."""

    variant: Variant
    verdict: Verdict

    @property
    def is_expected(self) -> bool:
        """Tell whether it came out as it must."""
        if self.variant.fails is None:
            return self.verdict.violated is None and self.verdict.is_complete
        return self.verdict.violated == self.variant.fails

    @property
    def result(self) -> str:
        """Return the result in a word or two."""
        if self.verdict.violated:
            text = f"fails {self.verdict.violated}"
        else:
            text = "holds" if self.verdict.is_complete else "incomplete"
        return text if self.is_expected else f"{text} (UNEXPECTED)"

    def as_json(self) -> dict[str, object]:
        """Return the row for programs."""
        return {
            "variant": self.variant.name,
            "says": self.variant.says,
            "checked": sorted(self.variant.checks),
            "expected_to_fail": self.variant.fails,
            "as_expected": self.is_expected,
            **asdict(self.verdict),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.variant and options.variant not in VARIANTS:
        _complain(f"there is no variant {options.variant!r}; choose from: {', '.join(VARIANTS)}")
        return BAD_USAGE
    if missing := missing_programs():
        _complain(f"not installed: {', '.join(missing)}. On Debian or Ubuntu: sudo apt install spin gcc")
        return NOT_INSTALLED
    rows = []
    try:
        for row in _rows(options):
            rows.append(row)
    except ModelError as error:
        _complain(str(error))
        return UNEXPECTED
    if options.json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        _summarise(rows)
    return AS_EXPECTED if all(row.is_expected for row in rows) else UNEXPECTED


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="leave out the largest searches")
    parser.add_argument("--variant", help="only this one")
    parser.add_argument(
        "--trail", action="store_true", help="show how a property comes to fail, step by step"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    for title, group in GROUPS.items():
        chosen = [variant for variant in group if _is_wanted(variant, options)]
        if chosen and not options.json:
            print(f"\n{title}\n{_line(HEADER)}", flush=True)
        for variant in chosen:
            with tempfile.TemporaryDirectory() as folder:
                row = Row(variant=variant, verdict=check(variant, Path(folder)))
                if not options.json:
                    print(_line(_cells(row)), flush=True)
                if row.verdict.violated and (options.trail or not row.is_expected) and not options.json:
                    _print_trail(row, Path(folder))
            yield row


def _is_wanted(variant: Variant, options: argparse.Namespace) -> bool:
    if options.variant:
        return bool(variant.name == options.variant)
    return variant.quick or not options.quick


def _cells(row: Row) -> tuple[str, ...]:
    checks, verdict = row.variant.checks, row.verdict
    checked = "1 2 4 6" if checks == SAFETY else " ".join(sorted(checks))
    return (
        row.variant.name,
        checked,
        row.result,
        f"{verdict.states:,}",
        f"{verdict.depth:,}",
        f"{verdict.seconds:.1f}",
        row.variant.says,
    )


def _line(cells: Sequence[str]) -> str:
    name, checked, result, states, depth, seconds, says = cells
    return f"  {name:<15} {checked:<13} {result:<20} {states:>10} {depth:>7} {seconds:>7}  {says}"


def _print_trail(row: Row, folder: Path) -> None:
    print(f"\n    {row.variant.says}. Times in ticks: a lease lasts 2, a request can be accepted for 2.")
    for line in in_words(replay(row.variant, folder)):
        print(f"    {line}")
    print(
        f"          So this does not hold: {PROPERTIES.get(row.verdict.violated or '', 'something else')}.\n"
    )


def _summarise(rows: Sequence[Row]) -> None:
    unexpected = [row.variant.name for row in rows if not row.is_expected]
    print("\nchecked: " + "\n         ".join(f"{name:<13} {says}" for name, says in PROPERTIES.items()))
    seconds = sum(row.verdict.seconds for row in rows)
    what = f"unexpected: {', '.join(unexpected)}" if unexpected else "all as expected"
    print(f"\n{len(rows)} runs, {seconds:.0f} s of one core: {what}")


if __name__ == "__main__":
    sys.exit(main())
