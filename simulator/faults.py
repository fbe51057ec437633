"""Faults that can be switched on at run time, per endpoint and probability."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

KINDS = frozenset(
    {
        "latency",  # waits latency_ms +- spread_ms, then goes on
        "error",  # answers `status` without processing
        "hang",  # never answers, does not process
        "reset_before",  # closes the connection, does not process
        "reset_after",  # processes, then closes the connection: the client never learns
        "late",  # closes the connection at once, processes `delay_ms` later
        "stale_list",  # open-order lists show what was `delay_ms` ago
        "stale_history",  # so do the histories of orders and fills
        "late_position",  # so do positions
        "cancel_202",  # answers 202 and cancels `delay_ms` later
    }
)
METHODS = frozenset({"GET", "POST", "DELETE", "PATCH"})
#: Kinds that change an answer need an endpoint that gives such an answer.
ONLY_ON = {
    "stale_list": ("GET /api/v1/orders",),
    "stale_history": ("GET /wapi/v1/history/fills", "GET /wapi/v1/history/orders"),
    "late_position": ("GET /api/v1/position",),
    "cancel_202": ("DELETE /api/v1/order", "DELETE /api/v1/orders"),
}
#: What a rule may say, and the types of it.
FIELDS: dict[str, tuple[type, ...]] = {
    "endpoint": (str,),
    "kind": (str,),
    "probability": (int, float),
    "count": (int, type(None)),
    "latency_ms": (int, float),
    "spread_ms": (int, float),
    "status": (int,),
    "code": (str,),
    "message": (str,),
    "delay_ms": (int, float),
    "account": (str, type(None)),
    "plain": (bool,),
}


class FaultError(ValueError):
    """Raised when a fault rule is not understood."""


@dataclass(kw_only=True)
class Fault:
    """One rule."""

    #: For example ``POST /api/v1/order``; ``*`` for all of them.
    endpoint: str
    kind: str
    probability: float = 1.0
    #: The rule goes away after this many hits; None: it stays.
    count: int | None = None
    latency_ms: float = 0
    spread_ms: float = 0
    status: int = 503
    code: str = "SERVER_ERROR"
    message: str = "Unknown error, please check your request or try again later."
    delay_ms: float = 0
    #: Name of the account; None: everybody.
    account: str | None = None
    #: Answer errors as plain text.
    plain: bool = False
    hits: int = 0

    def fits(self, endpoint: str, account: str | None) -> bool:
        """Tell whether the rule is about this request."""
        return self.endpoint in {"*", endpoint} and self.account in {None, account}


def parse(rules: Any) -> list[Fault]:
    """Return the rules of a JSON list. Raises `FaultError` that says what is wrong."""
    if not isinstance(rules, list):
        raise FaultError("expected a JSON list of rules")
    faults = []
    for rule in rules:
        if not isinstance(rule, dict) or "endpoint" not in rule or rule.get("kind") not in KINDS:
            raise FaultError(f"a rule needs 'endpoint' and a 'kind' out of {', '.join(sorted(KINDS))}")
        unknown = set(rule) - FIELDS.keys()
        if unknown:
            raise FaultError(f"unknown fields: {', '.join(sorted(unknown))}")
        for name, value in rule.items():
            if not isinstance(value, FIELDS[name]) or (isinstance(value, bool) and name != "plain"):
                raise FaultError(f"{name!r} cannot be {value!r}")
        faults.append(Fault(**rule))
        _check(faults[-1])
    return faults


def _check(fault: Fault) -> None:
    method, _, path = fault.endpoint.partition(" ")
    # A mistyped endpoint would never hit, and its test would pass for the wrong reason.
    if fault.endpoint != "*" and (method not in METHODS or not path.startswith("/") or "?" in path):
        raise FaultError(f"'endpoint' is '*' or a method and a path, not {fault.endpoint!r}")
    if not 0 <= fault.probability <= 1:
        raise FaultError("'probability' is between 0 and 1")
    if fault.count is not None and fault.count < 1:
        raise FaultError("'count' is at least 1; leave it out for a rule that stays")
    if not 200 <= fault.status <= 599:
        raise FaultError("'status' is an HTTP status from 200 to 599")
    if min(fault.latency_ms, fault.spread_ms, fault.delay_ms) < 0:
        raise FaultError("times cannot be negative")
    if fault.kind in ONLY_ON and fault.endpoint not in {"*", *ONLY_ON[fault.kind]}:
        raise FaultError(f"{fault.kind!r} has an effect on {', '.join(ONLY_ON[fault.kind])} only")


class Faults:
    """The rules in force."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.rules: list[Fault] = []

    def drawn(self, endpoint: str, account: str | None) -> list[Fault]:
        """Return the faults that hit this request, and count them."""
        hit = []
        for rule in list(self.rules):
            if not rule.fits(endpoint, account) or self._random.random() >= rule.probability:
                continue
            rule.hits += 1
            hit.append(rule)
            if rule.count is not None and rule.hits >= rule.count:
                self.rules.remove(rule)
        return hit

    def latency_s(self, rule: Fault) -> float:
        """Return how long a latency rule waits this time."""
        return max(0.0, rule.latency_ms + self._random.uniform(-1, 1) * rule.spread_ms) / 1000
