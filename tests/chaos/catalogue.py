"""Every class of fault by its name in the table."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial

from tests.acceptance.simulated_exchange import EVERYTHING, LIST_OPEN, fault
from tests.chaos import process_faults as processes
from tests.chaos import server_faults as servers
from tests.chaos.auditor import ALL_BUT_GUARD, GUARD_ACTS_S
from tests.chaos.exchange_faults import BadExchange
from tests.chaos.faults import Fault, Maker
from tests.chaos.plant import CLEANUP, FEED, GUARD_AFTER_S, ITERATE
from tests.chaos.power_cut import PowerCut

#: Rounds in which several faults come together.
MIXED = "mixed at random"
WORKERS = (*ITERATE, CLEANUP)
#: How much of the full length there is where time is short, and in mixed rounds.
SHORT = 0.35


def _killed(name: str, targets: tuple[str, ...], dice: random.Random, _: bool) -> Fault:
    return processes.Killed(name=name, dice=dice, target=dice.choice(targets))


def _server_killed(name: str, target: str, dice: random.Random, full: bool) -> Fault:
    away_s = dice.choice((0.3, 1.0, 4.0, 20.0 if full else 20 * SHORT))
    return servers.ServerKilled(name=name, dice=dice, target=target, away_s=away_s)


def _frozen(name: str, child: bool, dice: random.Random, _: bool) -> Fault:
    hold_s = dice.uniform(*processes.ZOMBIE_S)
    return processes.Frozen(name=name, dice=dice, child=child, hold_s=hold_s)


def _exchange(kind: str, name: str, dice: random.Random, full: bool) -> Fault:
    rules, longest_s = EXCHANGE[kind]
    hold_s = longest_s if full else longest_s * SHORT
    share = 1.0 if kind == "outage" else dice.choice((0.3, 0.6, 0.9))
    return BadExchange(
        name=name,
        dice=dice,
        hold_s=dice.uniform(0.7, 1) * hold_s if kind != "outage" else hold_s,
        rules=[{**rule, "probability": share} for rule in rules],
    )


#: The rules of each kind, and its full length in seconds.
EXCHANGE: Mapping[str, tuple[list[dict[str, object]], float]] = {
    "hang": ([fault(EVERYTHING, "hang")], 12),
    "5xx": ([fault(EVERYTHING, "error", status=503)], 12),
    "429": ([fault(EVERYTHING, "error", status=429, code="TOO_MANY_REQUESTS")], 12),
    "reset before": ([fault(EVERYTHING, "reset_before")], 12),
    "reset after": ([fault(EVERYTHING, "reset_after")], 12),
    "late": ([fault(EVERYTHING, "late", delay_ms=900)], 12),
    "outage": ([fault(EVERYTHING, "reset_before")], 60),
    "lists lag": ([fault(LIST_OPEN, "stale_list", delay_ms=1500)], 12),
}


def _unreachable(name: str, dice: random.Random, full: bool) -> Fault:
    targets = dice.choice((("state",), ("broker",), ("state", "broker")))
    return servers.Unreachable(name=name, dice=dice, targets=targets, hold_s=20 if full else 20 * SHORT)


def _two_terms(name: str, dice: random.Random, _: bool) -> Fault:
    return processes.TwoTerms(name=name, dice=dice, target=dice.choice((*WORKERS, FEED)))


def _out_of_memory(name: str, dice: random.Random, _: bool) -> Fault:
    starve = dice.random() < 0.5
    return processes.OutOfMemory(name=name, dice=dice, starve=starve, hold_s=6 if starve else 0)


def _wrong_clock(name: str, dice: random.Random, full: bool) -> Fault:
    offset_s = dice.choice((-30.0, 30.0))
    hold_s = 15 if full else 8
    return processes.WrongClock(
        name=name, dice=dice, target=dice.choice(WORKERS), offset_s=offset_s, hold_s=hold_s
    )


def _cores_busy(name: str, dice: random.Random, full: bool) -> Fault:
    return processes.CoresBusy(name=name, dice=dice, hold_s=12 if full else 12 * SHORT)


def _disk_full(name: str, dice: random.Random, full: bool) -> Fault:
    return servers.DiskFull(name=name, dice=dice, hold_s=15 if full else 6)


def _cleanup_killed(name: str, dice: random.Random, _: bool) -> Fault:
    return processes.CleanupKilled(name=name, dice=dice, target=CLEANUP)


def _all_but_guard(name: str, dice: random.Random, full: bool) -> Fault:
    # Short, everything comes back while the guard begins to act.
    hold_s = GUARD_AFTER_S + (GUARD_ACTS_S + 1 if full else dice.uniform(-1, 4))
    return processes.AllButGuardKilled(name=name, dice=dice, hold_s=hold_s, with_servers=dice.random() < 0.5)


Named = Callable[[str, random.Random, bool], Fault]

_MAKERS: Mapping[str, Named] = {
    "iterate worker killed": lambda name, dice, full: _killed(name, ITERATE, dice, full),
    "pool child killed": lambda name, dice, _: processes.ChildKilled(name=name, dice=dice),
    "cleanup worker killed": _cleanup_killed,
    "feed killed": lambda name, dice, full: _killed(name, (FEED,), dice, full),
    "zombie child": lambda name, dice, full: _frozen(name, True, dice, full),
    "zombie process": lambda name, dice, full: _frozen(name, False, dice, full),
    "two SIGTERMs": _two_terms,
    "out of memory": _out_of_memory,
    "state server killed": lambda name, dice, full: _server_killed(name, "state", dice, full),
    "power cut": lambda name, dice, _: PowerCut(name=name, dice=dice, target="state"),
    "broker killed": lambda name, dice, full: _server_killed(name, "broker", dice, full),
    "server unreachable": _unreachable,
    "broker flushed": lambda name, dice, _: servers.BrokerFlushed(name=name, dice=dice),
    "duplicates": lambda name, dice, _: servers.Duplicates(name=name, dice=dice),
    ALL_BUT_GUARD: _all_but_guard,
    "wrong clock": _wrong_clock,
    **{f"exchange: {kind}": partial(_exchange, kind) for kind in EXCHANGE},
    "ledger's disk full": _disk_full,
    "cores busy": _cores_busy,
}

CLASSES: Mapping[str, Maker] = {name: partial(maker, name) for name, maker in _MAKERS.items()}
