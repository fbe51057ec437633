"""Control messages (revoke, interrupt, inspect, Flower's) of the right form only.

Celery answers one of another form by opening its control channel anew: meanwhile broadcasts are lost.
"""

from __future__ import annotations

from typing import Any

from celery.app.control import Control
from kombu import pidbox

from tasks.refusing import REFUSALS

LARGEST_CLOCK = 2**53


class StrictNode(pidbox.Node):
    """A worker's end of the control channel."""

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Run the command that a message asks for, if it has the form of one."""
        clock = message.headers.get("clock") if message is not None else None
        if not self._is_command(body) or not _is_clock(clock):
            REFUSALS.note("control", body)
            return None
        return super().handle_message(body, message)  # type: ignore[no-untyped-call]

    def _is_command(self, body: Any) -> bool:
        return (
            isinstance(body, dict)
            and isinstance(body.get("method"), str)
            and body["method"] in (self.handlers or {})
            and isinstance(body.get("arguments"), dict | None)
            and _is_destination(body.get("destination"))
            # A regular expression may run for hours in the event loop; nothing of ours sends one.
            and body.get("matcher") in (None, "glob")
            and isinstance(body.get("pattern"), str | None)
            and _is_reply_to(body.get("reply_to"))
        )


def _is_clock(clock: Any) -> bool:
    return clock is None or (type(clock) is int and 0 <= clock <= LARGEST_CLOCK)


def _is_destination(destination: Any) -> bool:
    return destination is None or (
        isinstance(destination, list) and all(isinstance(name, str) for name in destination)
    )


def _is_reply_to(reply_to: Any) -> bool:
    return reply_to is None or (
        isinstance(reply_to, dict)
        and all(isinstance(reply_to.get(name), str) for name in ("exchange", "routing_key"))
    )


class StrictMailbox(pidbox.Mailbox):
    """A mailbox whose worker's end looks first."""

    node_cls = StrictNode


class StrictControl(Control):
    """Celery's control of workers through such a mailbox."""

    Mailbox = StrictMailbox
