"""One message to one target, through apprise. Nothing of what apprise says goes out: it quotes URLs."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import apprise

from alerts.memory import Message
from alerts.phrases import Phrases

#: Of an HTTP answer, in apprise's words.
_STATUS = re.compile(r"\berror=(\d{3})\b|\bstatus[ =:]+(\d{3})\b")
CONNECT_S = 4.0
_TYPES = {
    "info": apprise.NotifyType.INFO,
    "success": apprise.NotifyType.SUCCESS,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What came of it."""

    ok: bool
    #: Without any part of the URL; empty when it went well.
    problem: str = ""


class Sender:
    """Sends to one target."""

    def __init__(self, url: str, *, timeout_s: float, phrases: Phrases) -> None:
        """Raise `ValueError` for a URL that apprise cannot use; of it, only the scheme is said."""
        keep_quiet()
        self._timeout_s = timeout_s
        self._phrases = phrases
        self._service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Cleanbook", app_desc="alerts"))
        try:
            usable = self._service.add(url)
        except Exception as error:  # noqa: BLE001 - a plugin's; its text may quote the URL
            raise ValueError(f"apprise fails on it with {type(error).__name__}") from None
        if not usable or len(self._service) != 1:
            scheme = url.partition("://")[0] if "://" in url else "none"
            raise ValueError(f"is no URL that apprise can use (its scheme is {scheme[:20]!r})")
        for plugin in self._service:
            plugin.socket_connect_timeout = min(CONNECT_S, timeout_s)
            # The call as a whole is limited below: later, so that what hangs is called so.
            plugin.socket_read_timeout = 2 * timeout_s

    def send(self, message: Message) -> Sent:
        """Send, and return at the latest a little after the time-out."""
        try:
            result = self._service.notify(
                title=message.title,
                body=f"{message.body}\n{self._phrases.say('id', id=message.id)}",
                notify_type=_TYPES[message.looks],
                body_format="text",
                timeout=self._timeout_s,
            )
        except Exception as error:  # noqa: BLE001 - a plugin's; its text may quote the URL
            return Sent(ok=False, problem=f"apprise failed with {type(error).__name__}")
        if result:
            return Sent(ok=True)
        return Sent(ok=False, problem=_problem(result))


def keep_quiet() -> None:
    """Silence the libraries whose log lines quote URLs, which hold tokens."""
    for name in ("apprise", "urllib3", "requests", "smtplib", "paho"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = False
        logger.addHandler(logging.NullHandler())


def _problem(result: apprise.AppriseResult) -> str:
    attempts = [attempt for service in result for attempt in service]
    if any(attempt.status is apprise.AppriseResultStatus.TIMEOUT for attempt in attempts):
        return "no answer in time"
    for attempt in attempts:
        for entry in attempt.logs:
            found = _STATUS.search(entry.message)
            if found:
                return f"it answered {found[1] or found[2]}"
    return "it could not be reached, or refused the message"
