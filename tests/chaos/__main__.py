"""`python -m tests.chaos`: kill everything in every way, and judge what happened to the orders.

    python -m tests.chaos --seconds 300 --seed 7             every class of fault alone, then mixed
    python -m tests.chaos --seconds 60 --fault "zombie child"
    python -m tests.chaos --seconds 300 --sentinels          three servers, and the one that leads is lost
    python -m tests.chaos --keep RESULTS --report            the table of everything kept in RESULTS
    python -m tests.chaos --judge FOLDER                     judge again what an earlier run has left

Exit code 0: no violation; 1: some, or the run could not be made; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cli.stack.processes import StackError
from cli.stack.signals import ending_politely
from tests.chaos.auditor import Verdict, judge
from tests.chaos.evidence import META_FILE, Evidence, load_evidence
from tests.chaos.failover import FAILOVERS
from tests.chaos.report import write_report
from tests.chaos.results import Result, as_json, keep, kept, row_of, summarise, table, totals
from tests.chaos.run import CrashTest, Plan
from tests.chaos.schedule import MAKERS

STARTED_S = time.monotonic()
#: Instances that trade unless fewer are asked for.
ALL = Plan.instances


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    options = _parser().parse_args(arguments)
    if options.report:
        return _show(kept(options.keep), options)
    if options.judge:
        return _judge_again(options)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="cleanbook-chaos-"))
    command = f"python -m tests.chaos --seconds {options.seconds:g} --seed {seed}"
    command += "".join(f' --fault "{name}"' for name in options.fault) + (" --mixed" if options.mixed else "")
    command += f" --fsync {options.fsync}" if options.fsync != "always" else ""
    command += " --sentinels" if options.sentinels else ""
    command += " --hosts" if options.hosts else ""
    command += f" --instances {options.instances}" if options.instances != ALL else ""
    _tell(f"{command}: in {folder}")
    plan = Plan(
        seconds=options.seconds,
        seed=seed,
        faults=options.fault,
        mixed=options.mixed,
        fsync=options.fsync,
        instances=options.instances,
        hosts=options.hosts,
        sentinels=options.sentinels or any(name in FAILOVERS for name in options.fault),
    )
    try:
        with ending_politely():
            evidence, verdict = CrashTest(plan=plan, folder=folder, tell=_tell).run()
    except (StackError, AssertionError) as error:
        _tell(f"the run was not completed: {error}\nseed {seed}; everything is in {folder}")
        return 1
    except KeyboardInterrupt:
        _tell(f"interrupted; seed {seed}, everything is in {folder}")
        return 1
    result = summarise(evidence, verdict, command=command, seed=seed)
    if options.keep:
        keep(result, options.keep)
    _tell_violations(evidence, verdict, seed, folder)
    if not verdict.violations and not options.folder:
        shutil.rmtree(folder)
    return _show([result], options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=300, help="of chaos (300)")
    parser.add_argument("--seed", type=int, help="everything random follows from it (default: a new one)")
    parser.add_argument(
        "--fault", action="append", default=[], choices=sorted(MAKERS), metavar="CLASS", help="only these"
    )
    parser.add_argument(
        "--fsync", choices=("always", "everysec", "no"), default="always", help="of the servers' files"
    )
    parser.add_argument(
        "--sentinels", action="store_true", help="three servers and Sentinels; faults: the leader is lost"
    )
    parser.add_argument(
        "--hosts", action="store_true", help="that on three hosts, one of which is cut off (root)"
    )
    parser.add_argument("--instances", type=int, default=ALL, help="how many trade, at least 10 (20)")
    parser.add_argument("--mixed", action="store_true", help="several faults at once from the beginning")
    parser.add_argument(
        "--folder", type=Path, help="where everything is kept (default: gone when all is well)"
    )
    parser.add_argument("--keep", type=Path, metavar="RESULTS", help="add the result to those of this folder")
    parser.add_argument("--report", action="store_true", help="run nothing: the table of all of --keep")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="run nothing: judge a folder again")
    parser.add_argument("--markdown", type=Path, help="also write the report there, as bench/CRASH_MATRIX.md")
    parser.add_argument("--note", default="", help="a sentence for --markdown")
    parser.add_argument("--json", action="store_true", help="figures for machines")
    return parser


def _judge_again(options: argparse.Namespace) -> int:
    evidence = load_evidence(options.judge)
    verdict = judge(evidence)
    seed = json.loads((options.judge / META_FILE).read_text(encoding="utf-8"))["seed"]
    _tell_violations(evidence, verdict, seed, options.judge)
    return _show([summarise(evidence, verdict, command="", seed=seed)], options)


def _show(results: Sequence[Result], options: argparse.Namespace) -> int:
    if options.markdown:
        write_report(results, options.markdown, note=options.note)
    print(as_json(results) if options.json else "\n".join((*table(results), "", totals(results))))  # noqa: T201
    return 1 if any(result.violations for result in results) else 0


def _tell_violations(found: Evidence, verdict: Verdict, seed: int, folder: Path) -> None:
    lines = {entry["n"]: entry for entry in found.journal}
    for each in verdict.violations:
        _tell(
            f"VIOLATION ({each.rule}) seed {seed}, fault {row_of(found, each)}, "
            f"{each.instance_id} epoch {each.epoch}, at {each.at_ms}: {each.text}"
        )
        for number in each.journal_lines:
            _tell(f"    journal {json.dumps(lines.get(number))}")
    if verdict.violations:
        _tell(f"logs, journal, events and ledger: {folder}")


def _tell(text: str) -> None:
    sys.stderr.write(f"[{time.monotonic() - STARTED_S:6.1f} s] {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
