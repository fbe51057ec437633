"""What the model is checked for: the protocol as built, and each of its rules left out."""

from __future__ import annotations

from dataclasses import dataclass

#: The properties, by the names that the table shows. A number is an invariant of docs/lifecycle.md.
PROPERTIES = {
    "1": "after a clean stop no order of the run is open, and none is accepted later",
    "2": "at most one task holds the lease, and only that one is authorised",
    "4": "doubled, late and stale messages change nothing",
    "6": "after a stop was requested nothing of the run is authorised",
    "stop_ends": "a requested stop ends clean, once faults stop",
    "runs_again": "a running instance without a live task runs again, once faults stop (invariant 3)",
    "wake_answered": "a wake-up is answered, however far away the schedule is",
}
SAFETY = frozenset({"1", "2", "4", "6"})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One run of the checker."""

    name: str
    #: What is checked, or which rule is left out.
    says: str
    #: The properties that are checked in this run; all of `SAFETY` or one.
    checks: frozenset[str] = SAFETY
    #: The property that must fail; None: all of them must hold.
    fails: str | None = None
    #: Parts and sizes of the model, as macros of `lifecycle.pml`.
    defines: tuple[str, ...] = ()
    #: The rule that is left out, by its name in `lifecycle.pml`.
    broken: str = "none"
    #: Part of `--quick` too.
    quick: bool = True

    @property
    def is_liveness(self) -> bool:
        """Tell whether this looks for a run in which something good never happens."""
        return not self.checks <= SAFETY

    @property
    def macros(self) -> tuple[str, ...]:
        """Return everything that has to be defined for this run."""
        only = next(iter(self.checks)) if len(self.checks) == 1 and not self.is_liveness else "0"
        return (*self.defines, f"BROKEN={self.broken}", f"ONLY={only}")


ONE_EACH = ("WORKERS=1", "CLEANERS=1", "REQUESTS=1")
TWO_ITERATIONS = ("WORKERS=2", "CLEANERS=1", "REQUESTS=1")


def holds(
    name: str, says: str, *defines: str, checks: str | None = None, broken: str = "none", quick: bool = True
) -> Variant:
    """Return a run in which everything that is checked must hold."""
    chosen = SAFETY if checks is None else frozenset({checks})
    return Variant(name=name, says=says, checks=chosen, defines=defines, broken=broken, quick=quick)


def fails(name: str, says: str, fails: str, *defines: str, checks: str | None = None) -> Variant:
    """Return a run with a rule left out, in which the property `fails` must not hold."""
    if fails not in SAFETY:
        checks, defines = fails, ("LIVE", *(defines or ONE_EACH))
    chosen = SAFETY if checks is None else frozenset({checks})
    return Variant(name=name, says=says, checks=chosen, fails=fails, defines=defines, broken=name)


AS_BUILT = (
    holds("stop", "2 iterations and 2 cleanups at once, 2 requests on their way", quick=False),
    holds("stop-small", "2 iterations and 2 cleanups at once, 1 request on its way", "REQUESTS=1"),
    holds("close", "cleanups send orders of their own: 2 cleanups", "CLOSE", "WORKERS=1", quick=False),
    holds(
        "close-late", "the same: 2 iterations, of which one commits late", "CLOSE", "CLEANERS=1", "REQUESTS=1"
    ),
    holds("flaky", "a list leaves out what rests, not twice in a row", "FLAKY", "WORKERS=1"),
    holds(
        "lag",
        "lists lag longer than the fence's margin; orders are known by id",
        "LAG",
        "WORKERS=1",
        "REQUESTS=1",
    ),
    holds("crash", "the state server crashes and has lost up to a tick", "CRASH", "WORKERS=1", "CLEANERS=1"),
    holds(
        "stop-ends",
        "2 cleanups, 1 request",
        "LIVE",
        "WORKERS=1",
        "REQUESTS=1",
        checks="stop_ends",
        quick=False,
    ),
    holds("stop-ends-small", "2 iterations and 2 cleanups", "LIVE", "REQUESTS=0", checks="stop_ends"),
    holds("runs-again", "2 iterations and 2 cleanups", "LIVE", "REQUESTS=0", checks="runs_again"),
    holds(
        "wake-answered", "2 iterations and 2 cleanups", "LIVE", "RARE", "REQUESTS=0", checks="wake_answered"
    ),
)

BROKEN_RULES = (
    fails("nofence", "authorize leaves the fence alone", "1"),
    fails("latesign", "a request is signed with the time of sending", "1"),
    fails("nophase", "authorize looks at neither phase nor stop key", "6"),
    fails("notoken", "authorize ignores who holds the lease", "2"),
    fails("noexpiry", "authorize takes a lease that is over", "2"),
    fails("resetfence", "commit sets the fence to zero, not to its base", "1"),
    fails("unresolved", "commit pulls the fence back though a request has no answer", "1"),
    fails("anycommit", "commit ignores who holds the lease", "2"),
    fails(
        "lateboth",
        "a commit behind its lease lowers the fence, and a cleanup leaves it its lease",
        "1",
        "CLOSE",
        "WORKERS=1",
        "CLEANERS=1",
    ),
    fails("nolease", "claim ignores a live lease", "2"),
    fails("notick", "claim ignores the tick", "4"),
    fails("noepoch", "claim ignores the epoch", "4"),
    fails("nogate", "neither phase check nor wait for the lease", "1", checks="1"),
    fails("skipfence", "the cleanup does not wait for the fence", "1"),
    fails("listfails", "a list that failed is taken for an empty one", "1"),
    fails("onelist", "one empty list is enough", "1", "FLAKY", *ONE_EACH),
    fails("noids", "the cleanup does not cancel by known ids", "1", "LAG", *ONE_EACH),
    fails("noask", "the cleanup does not ask by client order id", "1", "LAG", *ONE_EACH),
    fails("anyfinish", "finish ignores whose cleanup lease it is", "1"),
    fails("startfence", "a forced start sets the fence to zero", "1"),
    fails("forgetintents", "a forced start forgets the orders nobody told of", "1", "LAG", *ONE_EACH),
    fails(
        "norestore",
        "after a crash of the state server the fence is as it was on disk",
        "1",
        "CRASH",
        *ONE_EACH,
    ),
    fails("nodisk", "finish does not wait until the stop is on disk", "1", "CRASH", *ONE_EACH),
    fails("startnodisk", "authorize does not wait until the start is on disk", "1", "CRASH", *ONE_EACH),
    fails("forgetstops", "the sweep forgets stopping instances", "stop_ends"),
    fails("noretry", "a cleanup that was not clean schedules no other", "stop_ends"),
    fails("forgetruns", "the sweep forgets running instances", "runs_again"),
    fails("nosweepclaim", "claim tells the sweep nothing", "runs_again"),
    fails("forgetwakes", "the sweep forgets wake-ups", "wake_answered", "RARE", *ONE_EACH),
)

#: Left out alone, each of these is caught by another rule: they are for promptness, or a second line.
DOUBLED_RULES = (
    holds(
        "nophase-alone",
        "no phase check: the wait for lease and fence keeps invariant 1",
        *TWO_ITERATIONS,
        checks="1",
        broken="nophase",
    ),
    holds("nowait", "no wait for the lease: finish refuses", *TWO_ITERATIONS, broken="nowait"),
    holds(
        "finishearly", "finish checks nothing: the cleanup has waited", *TWO_ITERATIONS, broken="finishearly"
    ),
    holds(
        "samegate",
        "authorize trusts a server that has crashed: the next claim sets the fence",
        "CRASH",
        *ONE_EACH,
        broken="samegate",
        quick=False,
    ),
    holds(
        "latecommit",
        "a late commit lowers the fence: its lease was taken",
        "CLOSE",
        "CLEANERS=1",
        "REQUESTS=1",
        broken="latecommit",
        quick=False,
    ),
    holds(
        "nodrain",
        "a cleanup leaves a dead lease: a late commit lowers nothing",
        "CLOSE",
        "CLEANERS=1",
        "REQUESTS=1",
        broken="nodrain",
        quick=False,
    ),
)

GROUPS = {
    "the protocol as built": AS_BUILT,
    "one rule left out: must fail": BROKEN_RULES,
    "one of two rules left out: must hold": DOUBLED_RULES,
}
VARIANTS = {variant.name: variant for group in GROUPS.values() for variant in group}
