"""The gate of a worker: no message that is not exactly one of ours reaches a pool process."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from datetime import UTC, datetime
from typing import Any

from celery.utils.log import get_logger
from kombu.serialization import prepare_accept_content

from tasks.arguments import ARGUMENTS, problem_of_arguments
from tasks.reconnect import SteadyConsumer
from tasks.refusing import REFUSALS

logger = get_logger(__name__)

LONGEST_ID = 255
#: Countdowns are at most a third of the visibility timeout; a worker would hold a later message until then.
LATEST_START_S = 3600.0
#: What may follow a task by a message's own word; none of ours asks for anything.
FOLLOWERS = ("callbacks", "errbacks", "chain", "chord")
JSON = "application/json"


class GuardedConsumer(SteadyConsumer):
    """Celery's consumer with a look at each message before Celery's own."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return what is called with each message of a task queue."""
        handle = super().create_task_handler(*args, **kwargs)
        accepted = prepare_accept_content(self.app.conf.accept_content)  # type: ignore[no-untyped-call]

        def on_task_received(message: Any) -> None:
            reason = problem_of_message(message, accepted)
            if reason is None:
                handle(message)
                return
            REFUSALS.note(reason, (message.headers, message.body[:100]))
            message.reject_log_error(logger, self.connection_errors)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a control message that is not signed or no JSON. Celery's own writes a trace for each."""
        REFUSALS.note("control", f"{type(exc).__name__}: {exc}")
        message.ack()


def problem_of_message(message: Any, accepted: Set[str]) -> str | None:
    """Return why a task message is refused, None when it may run."""
    headers = message.headers
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "headers"
    if headers["task"] not in ARGUMENTS:
        return "unknown task"
    if message.content_type not in accepted:
        return "unsigned" if message.content_type == JSON else "content type"
    problem = _problem_of_headers(headers)
    if problem is not None:
        return problem
    try:
        payload = message.decode()
    except Exception as error:  # noqa: BLE001 - a boundary: decoders and signatures raise what they like
        # Celery wraps what the signature's check raises, and kombu that again.
        is_signature = "SecurityError" in repr(error) or type(error.__cause__).__name__ == "SecurityError"
        return "signature" if is_signature else "undecodable"
    return _problem_of_payload(headers["task"], payload)


def _problem_of_headers(headers: dict[str, Any]) -> str | None:
    identity = headers.get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= LONGEST_ID:
        return "headers"
    # The limits of a task are the worker's, and no message of ours expires or is renamed.
    if headers.get("timelimit") not in (None, [None, None]) or headers.get("expires") is not None:
        return "headers"
    if any(headers.get(name) for name in ("shadow", "group", "stamps", "stamped_headers")):
        return "headers"
    if headers.get("retries") not in (None, 0):
        return "headers"
    return _problem_of_eta(headers.get("eta"))


def _problem_of_eta(eta: Any) -> str | None:
    if eta is None:
        return None
    try:
        at = datetime.fromisoformat(eta)
        at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return "eta"
    return "eta" if at_s > time.time() + LATEST_START_S else None


def _problem_of_payload(task: str, payload: Any) -> str | None:
    if not isinstance(payload, list) or len(payload) != 3:
        return "body"
    args, kwargs, follow = payload
    if not isinstance(follow, dict) or any(follow.get(name) for name in FOLLOWERS):
        return "body"
    return "arguments" if problem_of_arguments(task, args, kwargs) else None
