"""`manage.py guard`: the small process that is left when everything else has died."""

from __future__ import annotations

import os
import platform

import click

from cli.ending import end_by_signals
from cli.exit_codes import EPILOG, ExitCode
from cli.options import debug_option
from settings import GUARD_ACTIONS, environment, load

#: Of one question to the state server: what takes longer is tried again in the next round.
LOOK_S = 2.0


@click.command(epilog=EPILOG)
@click.option(
    "--after", metavar="S", help="Act after this many seconds of silence.  [CLEANBOOK_GUARD_AFTER_S]"
)
@click.option(
    "--action",
    type=click.Choice(GUARD_ACTIONS),
    help="cancel orders, or also stop the instance.  [CLEANBOOK_GUARD_ACTION]",
)
@debug_option
def guard(after: str | None, action: str | None, debug: bool) -> ExitCode:
    """Watch all instances, and cancel the own orders of those that show no life, until SIGTERM or Ctrl-C.

    It needs neither workers nor feed nor ledger, and when the state server is gone, too, it acts from a small
    file in the run directory. Run it on a host of its own, with a key of its own for each account, under the
    same variable names. Any number of these may run. docs/guard.md tells what it does and what it cannot.

    \b
    Examples:
      manage.py guard
      manage.py guard --after 20 --action stop
    """
    from exchanges.registry import Venue, VenueSettings, open_exchange
    from guard.account import Rules
    from guard.budget import OwnBudget
    from guard.memory import Memory
    from guard.service import GuardOptions, GuardService
    from guard.watched import Watched, credentials
    from logs import configure
    from metrics.keeping import keep
    from state.connection import connect_impatiently

    given = {"CLEANBOOK_GUARD_AFTER_S": after, "CLEANBOOK_GUARD_ACTION": action}
    settings = load({**environment(), **{name: value for name, value in given.items() if value is not None}})
    configure(settings)
    keep(settings.metrics_dir)

    def open_venue(one: Watched) -> tuple[Venue, str]:
        keys = credentials(one, settings.environ)
        venue = open_exchange(one.exchange, VenueSettings(base_url=one.base_url), keys, OwnBudget())
        return venue, keys.fingerprint

    service = GuardService(
        GuardOptions(
            name=f"{platform.node()}:{os.getpid()}",
            rules=Rules(after_s=settings.guard_after_s, fence_margin_ms=settings.fence_margin_ms),
            stops=settings.guard_action == "stop",
            simulator_url=settings.simulator_url,
        ),
        connect_impatiently(settings.state_url, timeout_s=LOOK_S),
        Memory(settings.run_dir / "guard.json", settings.state_url),
        open_venue=open_venue,
    )

    # There is nothing to give back, and a cancel under way may end as it likes.
    end_by_signals(service.end)
    service.run()
    return ExitCode.DONE
