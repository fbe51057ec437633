"""The alerts process: reads events and signs of life, and has messages sent while it holds the lease."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import redis
import structlog

from alerts.config import AlertsConfig
from alerts.delivery import Delivery
from alerts.judging import SUCCESS, Judge, local
from alerts.kinds import Kind
from alerts.memory import Memory, Message, read_memory
from alerts.notices import notices_of
from alerts.phrases import Phrases
from alerts.watching import Watch
from state.alerts import LEASE_MS, Alerts
from state.events import Event, Events
from state.scripts import Scripts

log = structlog.get_logger(__name__)

#: Longest wait for an event; the signs of life are looked at as often.
ROUND_MS = 1000
#: Events that are read at once.
MOST_EVENTS = 1000
#: Whoever does not hold the lease tells of a lost state server only after so many times as long: it
#: cannot know whether the holder could.
STANDBY_PATIENCE = 3
JOIN_S = 0.5


@dataclass(kw_only=True)
class _Outage:
    """The state server does not answer."""

    #: This machine's monotonic clock.
    since_s: float
    #: How many times as long as a rule says it is waited before that is told.
    patience: int
    error: str
    told: set[str] = field(default_factory=set)


class AlertsService:
    """Runs until `end`. Any number of these may run: one sends, another takes over when it goes."""

    def __init__(
        self,
        name: str,
        config: AlertsConfig,
        client: redis.Redis,
        *,
        summarise: Callable[[int], str],
    ) -> None:
        """`summarise` gets the time, ms, and returns the daily summary: a title, then its lines.

        Raises `ValueError`, which names the target, for a URL that cannot be used.
        """
        self._name = name
        self._config = config
        self._phrases = Phrases(config.language)
        self._summarise = summarise
        self._alerts = Alerts(client, Scripts(client))
        self._events = Events(client)
        self._watch = Watch(client)
        self._token = f"{name} {secrets.token_hex(4)}"
        #: Until when we hold the lease, on this machine's monotonic clock, s.
        self._ours_until_s = 0.0
        self._memory: Memory | None = None
        #: The memory as the state server has it.
        self._saved = ""
        self._outage: _Outage | None = None
        self._summaries: dict[str, Future[str]] = {}
        self._ended = threading.Event()
        self._deliveries: dict[str, Delivery] = {}
        for target_name, target in config.targets.items():
            try:
                self._deliveries[target_name] = Delivery(
                    target_name,
                    target,
                    self._alerts,
                    may_send=self._may_send,
                    now_ms=_wall_ms,
                    phrases=self._phrases,
                )
            except ValueError as error:
                raise ValueError(f"targets.{target_name}.url {error}") from None

    def end(self) -> None:
        """Ask for the end. For a signal handler."""
        self._ended.set()

    def run(self) -> None:
        """Work until `end` is called."""
        targets = ", ".join(self._config.targets)
        log.info("alerts begin", process=self._name, rules=len(self._config.rules), targets=targets)
        for delivery in self._deliveries.values():
            delivery.start()
        try:
            while not self._ended.is_set():
                try:
                    self.round()
                except redis.RedisError as error:
                    self._note_outage(error)
                    self._ended.wait(ROUND_MS / 1000)
                except Exception:
                    # The process's boundary: nobody else would tell anything.
                    log.exception("round failed, trying on")
                    self._memory = None
                    self._ended.wait(ROUND_MS / 1000)
        finally:
            self._close()

    def round(self) -> None:
        """Look once, and queue what has to be told. Raises `redis.RedisError`."""
        if not self._hold():
            self._memory = None
            self._ended.wait(ROUND_MS / 1000)
            return
        memory = self._memory = self._memory or self._remember()
        batch = self._events.read(memory.cursor, block_ms=ROUND_MS, count=MOST_EVENTS)
        # The look comes between two readings of the stream, so that an event and what it is about are known
        # together.
        look = self._watch.look(had_feed=memory.had_feed)
        batch += self._events.read(_end_of(batch, memory.cursor), count=MOST_EVENTS)
        judge = Judge(self._config, memory, look.now_ms)
        judge.take_notices(notices_of(batch))
        judge.take_look(look, frozenset(event.instance_id for event in batch))
        self._take_summaries(judge, memory, look.now_ms)
        judge.settle()
        memory.cursor = _end_of(batch, memory.cursor)
        text = memory.model_dump_json()
        if text == self._saved:
            return
        queued = [(target, message.model_dump_json()) for target, message in judge.messages]
        if not self._alerts.save(self._token, text, queued):
            log.warning("another process sends the alerts now")
            self._memory, self._ours_until_s = None, 0.0
            return
        self._saved = text
        for target in {target for target, _ in queued}:
            self._deliveries[target].wake()

    def _hold(self) -> bool:
        asked_s = time.monotonic()
        held_before = self._may_send()
        is_ours = self._alerts.hold(self._token)
        self._note_return()
        self._ours_until_s = asked_s + LEASE_MS / 1000 if is_ours else 0.0
        if is_ours and not held_before:
            log.info("this process sends the alerts", process=self._name)
            # What another one has done meanwhile is in the state server.
            self._memory = None
        return is_ours

    def _may_send(self) -> bool:
        return time.monotonic() < self._ours_until_s

    def _remember(self) -> Memory:
        self._saved = self._alerts.memory()
        memory = read_memory(self._saved)
        if not memory.cursor:
            # What happened before anybody asked for alerts is not told.
            memory.cursor = self._events.last_id()
        for target in set(memory.targets) - set(self._config.targets):
            self._alerts.forget(target)
        memory.targets = sorted(self._config.targets)
        return memory

    def _take_summaries(self, judge: Judge, memory: Memory, now_ms: int) -> None:
        moment = local(now_ms, self._config.timezone)
        for name, rule in self._config.rules_about(Kind.DAILY_SUMMARY):
            today = moment.date().isoformat()
            is_due = moment.time() >= rule.at
            if name not in memory.summaries:
                # The first one comes when its time does.
                memory.summaries[name] = today if is_due else ""
            if not is_due or memory.summaries[name] == today:
                continue
            if name not in self._summaries:
                # In a thread of its own: a ledger that is long or away must not cost the lease.
                self._summaries[name] = _in_background(self._summarise, now_ms, self._phrases)
            elif self._summaries[name].done():
                judge.take_summary(name, self._summaries.pop(name).result())
                memory.summaries[name] = today

    def _note_outage(self, error: redis.RedisError) -> None:
        now_s = time.monotonic()
        if self._outage is None:
            patience = 1 if self._memory is not None else STANDBY_PATIENCE
            # Whether the last saving was done is not known: what was saved counts.
            self._memory = None
            self._outage = _Outage(since_s=now_s, patience=patience, error=type(error).__name__)
            log.warning("state server out of reach", error=f"{type(error).__name__}: {error}")
        outage = self._outage
        for name, rule in self._config.rules_about(Kind.STATE_SERVER_DOWN):
            after_s = rule.after_ms(Kind.STATE_SERVER_DOWN) / 1000 * outage.patience
            if name not in outage.told and now_s - outage.since_s >= after_s:
                outage.told.add(name)
                lasts_s = f"{now_s - outage.since_s:.0f}"
                text = self._phrases.say("outage", time=lasts_s, error=outage.error)
                self._tell_directly(name, text, looks=rule.severity_of(Kind.STATE_SERVER_DOWN))

    def _note_return(self) -> None:
        outage, self._outage = self._outage, None
        if outage is None:
            return
        log.info("state server answers again")
        for name in sorted(outage.told):
            if self._config.rules[name].recovery:
                over = self._phrases.say(f"over.{Kind.STATE_SERVER_DOWN}")
                self._tell_directly(name, over, looks=SUCCESS)

    def _tell_directly(self, rule_name: str, text: str, *, looks: str) -> None:
        what = self._phrases.say(f"kind.{Kind.STATE_SERVER_DOWN}")
        message = Message(
            id=f"{self._name} {_wall_ms()}",
            rule=rule_name,
            title=self._phrases.say("title.over", what=what) if looks == SUCCESS else what,
            body=f"{text}\n{self._phrases.say('seen_by', name=self._name)}",
            looks=looks,
            at_ms=_wall_ms(),
        )
        for target in self._config.rules[rule_name].targets:
            self._deliveries[target].send_directly(message)

    def _close(self) -> None:
        for delivery in self._deliveries.values():
            delivery.end()
        for delivery in self._deliveries.values():
            delivery.join(JOIN_S)
        try:
            self._alerts.release(self._token)
        except redis.RedisError as error:
            log.info("lease not given up, it ends by itself", error=type(error).__name__)


def _end_of(batch: tuple[Event, ...], cursor: str) -> str:
    return batch[-1].stream_id if batch else cursor


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _in_background(summarise: Callable[[int], str], now_ms: int, phrases: Phrases) -> Future[str]:
    future: Future[str] = Future()

    def work() -> None:
        try:
            future.set_result(summarise(now_ms))
        except Exception as error:  # noqa: BLE001 - the thread's boundary: the summary says so
            log.warning("daily summary failed", error=f"{type(error).__name__}: {error}")
            unreadable = phrases.say("summary.unreadable", error=type(error).__name__)
            future.set_result(f"{phrases.say(f'kind.{Kind.DAILY_SUMMARY}').capitalize()}\n{unreadable}")

    threading.Thread(target=work, name="alerts-summary", daemon=True).start()
    return future
