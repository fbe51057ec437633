"""The threads that send, one for each target: one that hangs or fails holds up nobody else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import redis
import structlog
from pydantic import ValidationError

from alerts.config import Target
from alerts.memory import Message
from alerts.phrases import Phrases
from alerts.sending import Sender
from state.alerts import Alerts

log = structlog.get_logger(__name__)

#: How often an outbox is looked into when nobody says that something is in it.
LOOK_S = 1.0
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
#: Messages that wait here while the state server, where the others wait, is away.
MOST_DIRECT = 20


class Delivery:
    """Sends what waits for one target, the oldest first; one that fails lets the others have their turn."""

    def __init__(
        self,
        name: str,
        target: Target,
        alerts: Alerts,
        *,
        may_send: Callable[[], bool],
        now_ms: Callable[[], int],
        phrases: Phrases,
    ) -> None:
        """Raise `ValueError` for a URL that cannot be used."""
        self._name = name
        self._target = target
        self._alerts = alerts
        self._may_send = may_send
        self._now_ms = now_ms
        self._sender = Sender(target.url, timeout_s=target.timeout_s, phrases=phrases)
        self._direct: deque[Message] = deque(maxlen=MOST_DIRECT)
        self._failures = 0
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alerts-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Ask for the end; a sending under way may go on for its time-out."""
        self._ended.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def wake(self) -> None:
        """Say that something waits."""
        self._wake.set()

    def send_directly(self, message: Message) -> None:
        """Send a message that cannot wait in the state server, since that is what it is about."""
        self._direct.append(message)
        self._wake.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            try:
                pause_s = self.step()
            except redis.RedisError:
                # The service says so; what waits is there when the server is back.
                pause_s = LOOK_S
            except Exception as error:  # noqa: BLE001 - the thread's boundary; a text could quote the URL
                log.error("delivery failed, trying on", target=self._name, error=type(error).__name__)
                pause_s = LOOK_S
            # A new message is no reason to try a target that fails any earlier.
            (self._ended if self._failures else self._wake).wait(pause_s)

    def step(self) -> float:
        """Send one message, if there is one; return how long to wait before the next, s."""
        if self._direct:
            message = self._direct[0]
            if self._send(message) or self._is_old(message):
                self._direct.popleft()
            return self._pause_s()
        if not self._may_send():
            return LOOK_S
        text = self._alerts.first(self._name)
        if not text:
            return LOOK_S
        try:
            message = Message.model_validate_json(text)
        except ValidationError:
            log.error("message in the outbox is damaged, dropped", target=self._name)
            self._alerts.remove(self._name, text)
            return 0.0
        if self._send(message):
            self._alerts.remove(self._name, text)
        elif self._is_old(message):
            log.error("message given up", target=self._name, alert=message.id, title=message.title)
            self._alerts.remove(self._name, text)
        else:
            self._alerts.put_last(self._name)
        return self._pause_s()

    def _send(self, message: Message) -> bool:
        sent = self._sender.send(message)
        said = {"target": self._name, "rule": message.rule, "alert": message.id, "title": message.title}
        if sent.ok:
            log.info("alert sent", **said)
            self._failures = 0
        else:
            self._failures += 1
            log.warning("alert not sent, trying on", **said, why=sent.problem, failures=self._failures)
        return sent.ok

    def _is_old(self, message: Message) -> bool:
        return self._now_ms() - message.at_ms > self._target.give_up_after_s * 1000

    def _pause_s(self) -> float:
        if not self._failures:
            return 0.0
        return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 10))
