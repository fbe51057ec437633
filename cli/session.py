"""What a command works with: settings, the state server and, only where needed, the exchanges."""

from __future__ import annotations

import getpass
import os
import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from settings import Settings, load
from state.connection import connect
from state.events import Events
from state.instances import Instances
from state.queues import needed_queues
from state.run_changes import RunChanges
from state.scripts import Scripts

if TYPE_CHECKING:
    from runner.context import Context


@dataclass(frozen=True, kw_only=True)
class Session:
    """The light part of a context: enough for a stop, and quick to import."""

    settings: Settings
    client: redis.Redis
    instances: Instances
    events: Events
    changes: RunChanges


def open_session(settings: Settings | None = None) -> Session:
    """Return a session; it connects on first use. Raises `SettingsError`."""
    settings = settings or load()
    client = connect(settings.state_url)
    scripts = Scripts(client)
    return Session(
        settings=settings,
        client=client,
        instances=Instances(client, scripts),
        events=Events(client),
        changes=RunChanges(client, scripts),
    )


def open_full_context(settings: Settings, *, debug: bool = False) -> Context:
    """Return a whole context, exchanges included. Slow to import, so only for commands that talk to them."""
    import logging

    import structlog

    from runner.context import open_context

    # Logs of the parts used here go to standard error, and only when something is wrong.
    structlog.configure(
        # Not structlog's own, which shows the local variables of a traceback: passwords and keys among them.
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG if debug else logging.ERROR)
    return open_context(settings)


def who() -> str:
    """Return who runs this command, for the record of who stopped what."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        user = f"uid {os.getuid()}"
    return f"{user}@{platform.node()}, manage.py {os.getpid()}"


def unserved(session: Session) -> tuple[str, ...]:
    """Return the queues that no living worker serves, of those that Cleanbook needs."""
    workers = session.events.workers(now_ms=session.instances.now_ms())
    served = {queue for worker in workers for queue in worker.queues}
    return tuple(queue for queue in needed_queues(served) if queue not in served)
