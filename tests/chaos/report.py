"""`bench/CRASH_MATRIX.md`: the table with everything that is needed to take it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.plant import ENVIRON, GUARD_AFTER_S
from tests.chaos.results import Result, table, totals
from tests.sentinels import DOWN_AFTER_MS

INTRODUCTION = """\
# Crash matrix

What happens to orders when things die. Real processes (two Valkey servers, the simulated exchange, two
iteration workers, a cleanup worker, a feed, twenty instances of all five strategies, started and stopped at
random) fail in every way of the table, one class at a time and then two to four at once. An auditor
(`tests/chaos/auditor.py`) reads the exchange's journal and the receipts and judges:

a. no order is accepted for a run after its clean receipt;
b. no order is open at a clean receipt;
c. never two iterations of an instance at once;
d. no foreign order is touched (another account's, and another program's on the same account);
e. every running instance iterates again within 10 s of the fault's end;
f. every stop ends clean within 10 s of the fault's end;
g. the ledger has the journal's fills: all, once, and no others;
h. where everything is dead but the guard, no own order is left when its time has come.

Take it yourself: `make chaos SECONDS=300 SEED=7` (a new seed without `SEED`). A violation prints its seed and
leaves every log.
"""

FAILOVER_INTRODUCTION = f"""\
# Failover drill

What happens to orders when the one that leads of three servers is lost. The same crash test and the same
auditor as for [CRASH_MATRIX.md](CRASH_MATRIX.md), judgements (a) to (h) there; but broker and state are three
Valkey servers with three Sentinels, from the files in `deploy/redis` (down-after {DOWN_AFTER_MS} ms). With
`--hosts` each has a network namespace of its own, and *cut off* means: from the other servers, not from the
exchange, so that workers beside a leader that was replaced go on with it. On (c): a leader may have
forgotten the last claim of the one before it, and give its number again. Then two iterations are at work
for a moment, and what is judged is that no order is sent meanwhile.

Take it yourself: `make drill SECONDS=240` (`DRILL_ARGS=--hosts`, root).
"""

EXPLANATION = """\
*Iterates again*: from the end of the fault to the next good iteration of each running instance, ms. *Clean*:
from the request of a stop, or the end of the fault that it met, to its clean receipt, ms; stops that were
over before the fault was are not among them. A fault that kills ends when the service manager has started
the process again (1 s later), one that freezes when what it froze goes on. How real each fault is:
`tests/chaos/README.md`.
"""


def _run(result: Result) -> str:
    return (
        f"- `{result.command}` at {result.commit or '?'}: {len(result.violations)} violations in "
        f"{result.chaos_s:.0f} s; load {result.load_mean:.0f}, at most {result.load_max:.0f}"
    )


def _by_rule(rules: Counter[str]) -> str:
    return ", ".join(f"({rule}) {rules[rule] or 'none'}" for rule in "abcdefgh")


def write_report(results: Sequence[Result], path: Path, *, note: str = "") -> None:
    """Write the page; `note` says what else one has to know of these runs."""
    mean = sum(result.load_mean for result in results) / max(1, len(results))
    highest = max((result.load_max for result in results), default=0.0)
    is_drill = bool(results) and all(
        "--sentinels" in one.command or "--hosts" in one.command for one in results
    )
    rules = Counter(each["rule"] for one in results for each in one.violations)
    lines = [
        FAILOVER_INTRODUCTION if is_drill else INTRODUCTION,
        *table(results),
        "",
        totals(results),
        *([f"Violations by judgement: {_by_rule(rules)}."] if rules else []),
        "",
        EXPLANATION,
        f"Machine: {'; '.join(sorted({result.machine for result in results}))}.",
        f"Load (1 minute) at the rounds' ends: mean {mean:.1f}, at most {highest:.1f}.",
        f"Settings that are not the defaults: {', '.join(f'`{n}={value}`' for n, value in ENVIRON.items())};",
        f"the guard acts after {GUARD_AFTER_S} s.",
        *([note] if note else []),
        "",
        "## Runs",
        "",
        *map(_run, results),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
