"""Who trades in a crash test: twenty instances, started and stopped at random, and others beside them."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import redis

from exchanges.errors import ExchangeError
from runner.context import Context, open_context
from runner.lifecycle import StartRefused, start_instance, stop_policy
from settings import Settings
from state.connection import StateError
from state.record import Phase
from tests.soak.fleet import Member, hedge, perp_grid, perp_maker, spot_grid, spot_maker
from tests.soak.ledger_exchange import ChaosExchange

#: What may come of a start or stop while everything fails; the people try again later.
REFUSALS = (redis.RedisError, ExchangeError, StateError, StartRefused)
#: Instances that people like to have running.
WANTED_RUNNING = 16
#: So many are left alone, or a long outage, in which nothing can be started, would leave nobody to look at.
ALWAYS_RUNNING = 8
#: How often somebody stops an instance, and does not start one, while fewer run.
LIKES_TO_STOP = 0.25
#: Two cores get through about ten iterations a second beside everything else.
INTERVALS_S = ("2", "3", "4")
COINS = ("SOL", "ETH", "BTC")
PERP_COINS = ("SOL", "ETH")
#: Start prices of the simulated markets.
PRICES = {"SOL": Decimal(150), "ETH": Decimal(2700), "BTC": Decimal(60000)}
LEAST = {"SOL": Decimal("0.1"), "ETH": Decimal("0.01"), "BTC": Decimal("0.001")}
#: Where another program on our account has its client order ids: in no slot, and in a slot that is nobody's.
FOREIGN_SLOTS = (None, 0, 4090)


def everybody() -> list[Member]:
    """Return four instances of each of the five strategies.

    The hedge on a perpetual has its market to itself, and no grid is long or short: they close with
    reduce-only orders, which the exchange refuses where the account's position, which others share, is on the
    other side.
    """
    found: list[Member] = []
    for number in range(4):
        coin, perp = COINS[number % len(COINS)], PERP_COINS[number % len(PERP_COINS)]
        some = (
            _sized(spot_maker(f"{coin}_USDC"), "quantity", coin),
            _sized(perp_maker(f"{perp}_USDC_PERP"), "quantity", perp),
            _sized(spot_grid(f"{coin}_USDC"), "order_quantity", coin),
            _sized(perp_grid(f"{perp}_USDC_PERP"), "order_quantity", perp),
            _sized(
                hedge("BTC_USDC_PERP" if number == 3 else f"{coin}_USDC"),
                "quantity",
                "BTC" if number == 3 else coin,
            ),
        )
        names = ("spot_maker", "perp_maker", "grid", "perp_grid", "hedge")
        found += [
            replace(member, instance_id=f"{name}_{number + 1}")
            for name, member in zip(names, some, strict=True)
        ]
    return found


def _sized(member: Member, name: str, coin: str) -> Member:
    return replace(member, params={**member.params, name: str(LEAST[coin])})


def configure(members: Sequence[Member], config_dir: Path, dice: random.Random) -> None:
    """Write every member's file."""
    for member in members:
        content = member.config()
        content["strategy_config"]["interval"] = dice.choice(INTERVALS_S)
        path = config_dir / f"{member.instance_id}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


class Exchange(ChaosExchange):
    """The simulated exchange, with other people's orders and faults that come and go one by one."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._rules: dict[int, list[dict[str, object]]] = {}
        self._placed = 0

    def put_fault(self, owner: int, rules: list[dict[str, object]]) -> None:
        """Put somebody's rules in force beside those of others; an empty list takes them away."""
        self._rules[owner] = rules
        self.set_faults(*(rule for each in self._rules.values() for rule in each))

    def place_foreign(self, dice: random.Random) -> None:
        """Put orders of others on a book, far enough away that nobody trades with them soon."""
        coin, perp = dice.choice(COINS), dice.choice(("", "_PERP"))
        side = dice.choice(("Bid", "Ask"))
        factor = Decimal(str(dice.choice((0.94, 0.95, 0.96) if side == "Bid" else (1.04, 1.05, 1.06))))
        body = {
            "symbol": f"{coin}_USDC{perp}",
            "orderType": "Limit",
            "side": side,
            "price": str((PRICES[coin] * factor).quantize(Decimal(1))),
            "quantity": str(LEAST[coin]),
        }
        self._call("POST", "/sim/orders", json={**body, "account": "other"})
        slot = dice.choice(FOREIGN_SLOTS)
        self._placed += 1
        more = {} if slot is None else {"clientId": slot << 20 | self._placed}
        self._call("POST", "/sim/orders", json={**body, **more, "account": "demo"})


class People(threading.Thread):
    """Start and stop instances at random, whatever happens meanwhile."""

    def __init__(self, settings: Settings, members: Sequence[Member], seed: int) -> None:
        super().__init__(name="people", daemon=True)
        self._context: Context = open_context(settings)
        self._members = members
        self._dice = random.Random(f"{seed}:people")
        self._ended = threading.Event()
        self._told: dict[str, int] = {}
        self.starts = 0
        self.stops = 0
        self.refusals = 0

    def start_all(self) -> None:
        """Start everybody, before anything goes wrong."""
        for member in self._members:
            result = start_instance(self._context, member.instance_id, by="people").result
            assert result.started, f"{member.instance_id}: {result}"
            self.starts += 1

    def run(self) -> None:
        """Do something about once a second until `end`."""
        while not self._ended.wait(self._dice.uniform(0.4, 1.4)):
            try:
                self._do_something()
            except REFUSALS:
                self.refusals += 1

    def end(self) -> None:
        """Stop doing things."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout=30)

    def stop(self, instance_id: str) -> None:
        """Ask for the stop of a running instance."""
        policy = stop_policy(self._context, instance_id)
        self._context.instances.request_stop(instance_id, by="people", reason="chaos", policy=policy)
        self.stops += 1

    def running(self) -> list[str]:
        """Return who runs."""
        return [r.instance_id for r in self._context.instances.read_all() if r.phase is Phase.RUNNING]

    def not_stopped(self) -> list[str]:
        """Return who is not stopped."""
        return [r.instance_id for r in self._context.instances.read_all() if r.phase is not Phase.STOPPED]

    def slots(self) -> dict[int, str]:
        """Return who owns which slot."""
        return {record.slot: record.instance_id for record in self._context.instances.read_all()}

    def _do_something(self) -> None:
        which, mood = self._dice.random(), self._dice.random()
        records = self._context.instances.read_all()
        running = [r.instance_id for r in records if r.phase is Phase.RUNNING]
        stopped = [r.instance_id for r in records if r.phase is Phase.STOPPED]
        likes_to_stop = mood < (LIKES_TO_STOP if len(running) < WANTED_RUNNING else 1 - LIKES_TO_STOP)
        if len(running) > ALWAYS_RUNNING and (likes_to_stop or not stopped):
            self.stop(running[int(which * len(running))])
        elif stopped:
            name = stopped[int(which * len(stopped))]
            if start_instance(self._context, name, by="people").result.started:
                self.starts += 1
