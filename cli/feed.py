"""`manage.py feed`: the long-lived process that listens to exchanges and keeps the ledger."""

from __future__ import annotations

import os
import platform

import click

from cli.ending import end_by_signals
from cli.exit_codes import EPILOG, ExitCode
from cli.options import debug_option
from settings import load


@click.command(epilog=EPILOG)
@click.option(
    "--new-ledger",
    is_flag=True,
    help="Let this ledger take the place of one that is gone for good.",
)
@debug_option
def feed(new_ledger: bool, debug: bool) -> ExitCode:
    """Listen to the exchanges of all running instances, until SIGTERM or Ctrl-C.

    Market data goes to the state server, own fills to the ledger and, at once, to
    their instance. Any number of these may run, on any number of hosts: they share
    the accounts, and one takes over within 5 s of another's death. Without any,
    iterations ask the exchange themselves and see fills when they come round.

    \b
    Examples:
      manage.py feed
      CLEANBOOK_LEDGER_URL=postgresql://bot@db/ledger manage.py feed
    """
    from cli.watching import Watching
    from feed.bookkeeper import Bookkeeper, Retention
    from feed.service import FeedService
    from ledger.database import open_ledger
    from logs import configure
    from metrics.keeping import keep
    from runner.context import open_context

    settings = load()
    configure(settings)
    keep(settings.metrics_dir)
    context = open_context(settings)
    watching = Watching(context)
    service = FeedService(
        f"{platform.node()}:{os.getpid()}",
        context.client,
        watch=watching.read,
        connect=watching.connect,
        can_open=watching.can_open,
        bookkeeper=Bookkeeper(
            lambda: open_ledger(settings.ledger_url),
            context.client,
            retention=Retention(
                days=settings.ledger_keep_days, details_days=settings.ledger_keep_events_days
            ),
            replace=new_ledger,
        ),
    )

    # Leases end by themselves, and what was not told is read again.
    end_by_signals(service.end)
    service.run()
    return ExitCode.DONE
