"""A stack for soak runs: fast enough to get through a day in minutes, with nothing in it but its fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from cli.stack.stack import Stack, StackOptions
from runner.context import open_context
from tests.acceptance.command import plain_environ
from tests.acceptance.simulated_exchange import SimulatedExchange
from tests.acceptance.world import eventually
from tests.soak.fleet import Fleet, Member

#: Short enough that a killed worker's instances go on within seconds; every limit keeps its order.
ENVIRON = {
    "CLEANBOOK_REQUESTS_PER_MINUTE": "1000000",
    "CLEANBOOK_ITERATE_SOFT_LIMIT_S": "2.5",
    "CLEANBOOK_ITERATE_HARD_LIMIT_S": "4",
    "CLEANBOOK_LEASE_MS": "3000",
    "CLEANBOOK_MAX_CONSECUTIVE_ERRORS": "1000",
}


@contextmanager
def fleet(
    folder: Path,
    members: Sequence[Member],
    *,
    simulator: Sequence[str] = (),
    seed: int = 1,
    environ: Mapping[str, str] = MappingProxyType({}),
    start: bool = True,
) -> Iterator[Fleet]:
    """Bring up a stack whose market moves when told to, and start `members` on it, unless told not to."""
    config_dir, journal = folder / "instances", folder / "journal.jsonl"
    config_dir.mkdir(parents=True)
    options = StackOptions(
        run_dir=folder / "stack",
        config_dir=config_dir,
        simulator_arguments=(
            *("--flow", "manual", "--seed", str(seed), "--partial-percent", "40"),
            *("--rate-per-min", "1000000", "--journal", str(journal)),
            *simulator,
        ),
        environ=plain_environ() | ENVIRON | dict(environ),
    )
    with Stack(options) as stack:
        context = open_context(stack.settings())
        exchange = SimulatedExchange(stack.simulator_url)
        found = Fleet(
            stack=stack,
            context=context,
            exchange=exchange,
            config_dir=config_dir,
            journal=journal,
            members=members,
            seed=seed,
        )
        try:
            workers = context.events.workers
            eventually(lambda: len(workers(now_ms=context.instances.now_ms())) >= 2, what="both workers")
            if start:
                found.start()
            yield found
        finally:
            exchange.close()
            context.client.close()
