"""Faults of the streams that can be switched on at run time, by stream, account and probability."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Container
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from simulator.faults import FaultError
from simulator.journal import Journal
from simulator.stream_connection import Connection
from simulator.stream_names import every_name

KINDS = frozenset(
    {
        "freeze",  # from a hit on nothing arrives for duration_ms (0: until cleared); it is lost, not queued
        "lose",  # the message is lost
        "duplicate",  # it is sent twice
        "late",  # it is sent delay_ms later, others overtake it
        "reorder_after_reconnect",  # the first `count` messages of a new connection arrive shuffled
        "drop_connection",  # the connection is reset instead
        "no_pong",  # a ping of the client is not answered
    }
)
#: What a rule may say, and the types of it.
FIELDS: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "stream": (str,),
    "probability": (int, float),
    "count": (int, type(None)),
    "delay_ms": (int, float),
    "duration_ms": (int, float),
    "account": (str, type(None)),
}
#: Messages that are held back to be shuffled do not wait longer than this for the others.
LONGEST_SHUFFLE_MS = 200

#: Kinds that are not drawn for every message.
NOT_OF_MESSAGES = frozenset({"no_pong", "reorder_after_reconnect"})


@dataclass(kw_only=True, eq=False)
class StreamFault:
    """One rule."""

    kind: str
    #: Names of streams, with wildcards as a shell has them: ``account.*``.
    stream: str = "*"
    probability: float = 1.0
    #: The rule goes away after this many hits; None: it stays. Of a shuffle: how many messages.
    count: int | None = None
    delay_ms: float = 0
    duration_ms: float = 0
    #: Name of the account that signed on the connection; None: every connection.
    account: str | None = None
    hits: int = 0

    def fits(self, stream: str, connection: Connection) -> bool:
        """Tell whether the rule is about this message to this connection."""
        of_account = self.account is None or self.account in connection.accounts
        return of_account and fnmatchcase(stream, self.stream)


def parse(rules: Any, accounts: Container[str]) -> list[StreamFault]:
    """Return the rules of a JSON list. Raises `FaultError` that says what is wrong.

    `accounts` are the names of those that there are.
    """
    if not isinstance(rules, list):
        raise FaultError("expected a JSON list of rules")
    faults = []
    for rule in rules:
        if not isinstance(rule, dict) or rule.get("kind") not in KINDS:
            raise FaultError(f"a rule needs a 'kind' out of {', '.join(sorted(KINDS))}")
        unknown = set(rule) - FIELDS.keys()
        if unknown:
            raise FaultError(f"unknown fields: {', '.join(sorted(unknown))}")
        for name, value in rule.items():
            if not isinstance(value, FIELDS[name]) or isinstance(value, bool):
                raise FaultError(f"{name!r} cannot be {value!r}")
        faults.append(StreamFault(**rule))
        _check(faults[-1])
        if faults[-1].account is not None and faults[-1].account not in accounts:
            raise FaultError(f"no account is called {faults[-1].account!r}")
    return faults


def _check(fault: StreamFault) -> None:
    # A rule that could never hit makes its test pass for the wrong reason.
    if not any(fnmatchcase(name, fault.stream) for name in every_name()):
        raise FaultError(f"no stream has a name like {fault.stream!r}")
    if fault.kind == "no_pong" and fault.stream != "*":
        raise FaultError("'no_pong' is about connections: leave out 'stream'")
    if not 0 <= fault.probability <= 1:
        raise FaultError("'probability' is between 0 and 1")
    if fault.count is not None and fault.count < 1:
        raise FaultError("'count' is at least 1; leave it out for a rule that stays")
    if min(fault.delay_ms, fault.duration_ms) < 0:
        raise FaultError("times cannot be negative")
    if fault.kind == "late" and fault.delay_ms == 0:
        raise FaultError("'late' needs 'delay_ms'")
    if fault.kind == "reorder_after_reconnect" and (fault.count or 0) < 2:
        raise FaultError("'reorder_after_reconnect' needs a 'count' of at least 2")


@dataclass(kw_only=True, eq=False)
class _Shuffle:
    """Messages of one connection that wait for the others."""

    rule: StreamFault
    held: list[str] = field(default_factory=list)
    done: bool = False


class StreamFaults:
    """The rules in force, and what they do to connections."""

    def __init__(self, seed: int, journal: Journal) -> None:
        self._random = random.Random(seed)
        self._journal = journal
        self.rules: list[StreamFault] = []
        #: By connection: rules that froze it, and until when by the loop's clock.
        self._frozen: dict[Connection, list[tuple[StreamFault, float]]] = {}
        self._shuffles: dict[Connection, list[_Shuffle]] = {}

    def replace(self, rules: list[StreamFault]) -> None:
        """Put rules in force; those before have no effect any more."""
        self.rules = rules
        self._frozen.clear()
        for shuffles in list(self._shuffles.values()):
            for shuffle in shuffles:
                shuffle.done = True

    def opened(self, connection: Connection) -> None:
        """Take note of a connection: rules in force already see it as a reconnect."""
        self._shuffles[connection] = [
            _Shuffle(rule=rule) for rule in self.rules if rule.kind == "reorder_after_reconnect"
        ]

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._frozen.pop(connection, None)
        self._shuffles.pop(connection, None)

    def answers_ping(self, connection: Connection) -> bool:
        """Tell whether a client's ping is answered."""
        return not any(
            rule.kind == "no_pong" and rule.fits("*", connection) and self._hits(rule, connection, "*")
            for rule in list(self.rules)
        )

    def deliver(self, connection: Connection, stream: str, account: str | None, text: str) -> None:
        """Send a message, or do to it what a rule wants."""
        if connection.ended:
            return
        copies, delay_s = 1, 0.0
        if self._frozen and self._is_frozen(connection, stream):
            return
        for rule in list(self.rules):
            if rule.kind in NOT_OF_MESSAGES or not rule.fits(stream, connection):
                continue
            if not self._hits(rule, connection, stream):
                continue
            if rule.kind == "duplicate":
                copies = 2
            elif rule.kind == "late":
                delay_s += rule.delay_ms / 1000
            else:
                self._lose(rule, connection)
                return
        for _ in range(copies):
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, connection.push, text)
            else:
                self._send(connection, stream, text)

    def _lose(self, rule: StreamFault, connection: Connection) -> None:
        if rule.kind == "drop_connection":
            connection.reset()
        elif rule.kind == "freeze":
            now_s = asyncio.get_running_loop().time()
            until_s = now_s + rule.duration_ms / 1000 if rule.duration_ms else math.inf
            self._frozen.setdefault(connection, []).append((rule, until_s))

    def _is_frozen(self, connection: Connection, stream: str) -> bool:
        now_s = asyncio.get_running_loop().time()
        return any(
            now_s < until_s and rule.fits(stream, connection)
            for rule, until_s in self._frozen.get(connection, ())
        )

    def _send(self, connection: Connection, stream: str, text: str) -> None:
        for shuffle in self._shuffles.get(connection, ()):
            if shuffle.done or not shuffle.rule.fits(stream, connection):
                continue
            if not shuffle.held:
                if not self._draws(shuffle.rule, connection, stream):
                    shuffle.done = True
                    continue
                asyncio.get_running_loop().call_later(
                    LONGEST_SHUFFLE_MS / 1000, self._release, connection, shuffle
                )
            shuffle.held.append(text)
            if len(shuffle.held) == shuffle.rule.count:
                self._release(connection, shuffle)
            return
        connection.push(text)

    def _release(self, connection: Connection, shuffle: _Shuffle) -> None:
        shuffle.done, held = True, shuffle.held
        shuffle.held = []
        shuffled = list(held)
        # Chance leaves two in order every other time: then the test would test nothing.
        while shuffled == held and len(set(held)) > 1:
            self._random.shuffle(shuffled)
        for text in shuffled:
            connection.push(text)

    def _hits(self, rule: StreamFault, connection: Connection, stream: str) -> bool:
        if not self._draws(rule, connection, stream):
            return False
        if rule.count is not None and rule.hits >= rule.count:
            self.rules.remove(rule)
        return True

    def _draws(self, rule: StreamFault, connection: Connection, stream: str) -> bool:
        if self._random.random() >= rule.probability:
            return False
        rule.hits += 1
        self._journal.write(
            "stream_fault",
            account=next(iter(connection.accounts), None),
            kind=rule.kind,
            stream=stream,
            connection=connection.number,
        )
        return True
