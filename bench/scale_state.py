"""The state of very many running instances: some are made by the real scripts, the others are copies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import redis

from market.book import BookLevel, OrderBook
from market.orders import Role, Side
from market.position import Fill
from runner.books import Books
from runner.config import load_instance, version_of
from runner.known_orders import KnownOrder
from runner.loaded import from_config
from state import keys
from state.instances import Instances
from state.leases import Lease, Leases
from state.market_data import MarketData
from state.own_fills import News, OwnFills
from state.scripts import Scripts

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "market_maker_spot"
TEMPLATES = 10
#: Iterations of each: by then what is kept of them grows no more.
ITERATIONS = 150
ORDERS = 6
#: Of each side of a book.
LEVELS = 20
#: What was seen when the exchange was asked last.
LOOK = (
    '{"at_ms":1764000000000,"held":{"position":null,"balances":{"SOL":{"asset":"SOL","available":"200.5",'
    '"locked":"0.75"},"USDC":{"asset":"USDC","available":"1000000.25","locked":"112.5"}}}}'
)
#: Instances that share an account: as many as its request budget lets trade at a pace of a minute or so.
PER_ACCOUNT = 50
#: So long that nobody who has iterated is due again while it is measured.
INTERVAL_MS = 600_000
VENUE, SYMBOL = "backpack-simulated", "SOL_USDC"
#: Keys of one instance.
KINDS = {
    "record": keys.record,
    "config": keys.config,
    "trace": keys.trace,
    "generations": keys.generations,
    "own fills": keys.own_fills,
}
#: Commands of one trip.
BATCH = 5_000


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What the state of so many instances takes."""

    instances: int
    #: Of the server, with everything that instances share.
    bytes_each: float
    #: By kind of key: of one instance.
    kinds: dict[str, int]
    wrote_s: float


def operations(client: redis.Redis) -> tuple[Instances, Leases, OwnFills]:
    """Return the real operations, as a process of ours has them."""
    scripts = Scripts(client)
    leases = Leases(client, scripts, lease_ms=8_000, grace_ms=1_000, fence_margin_ms=1_000)
    return Instances(client, scripts), leases, OwnFills(client, scripts)


def name_of(number: int) -> str:
    """Return the id of an instance."""
    return f"scale_{number:06}"


def account_of(number: int) -> str:
    """Return the account of an instance."""
    return f"{VENUE}:{number // PER_ACCOUNT:010x}"


def write(client: redis.Redis, count: int) -> Weight:
    """Write `count` instances down as running and overdue, and none of them on a sweep's list for a day."""
    began_s = time.monotonic()
    before = _used_bytes(client)
    MarketData(client, Scripts(client)).put(VENUE, [_book()])
    for number in range(TEMPLATES):
        _make(client, number)
    for first in range(TEMPLATES, count, BATCH // (len(KINDS) + 5)):
        _copy(client, range(first, min(count, first + BATCH // (len(KINDS) + 5))))
    kinds = {
        kind: int(cast("Any", client.memory_usage(key(name_of(count - 1)), samples=0)) or 0)
        for kind, key in KINDS.items()
    }
    return Weight(
        instances=count,
        bytes_each=(_used_bytes(client) - before) / count,
        kinds=kinds,
        wrote_s=time.monotonic() - began_s,
    )


def _make(client: redis.Redis, number: int) -> None:
    """Have one instance run for as long as it takes until its state grows no more."""
    instances, leases, own_fills = operations(client)
    name = name_of(number)
    config = load_instance(TEMPLATE, ROOT / "config" / "templates", {}).config
    instances.start(
        name,
        config_version=version_of(config),
        config_json=config.to_json(),
        slot=number + 1,
        account=account_of(number),
        by="bench",
    )
    state_json = from_config(config).parse_state("").model_dump_json()
    fills = [News(booking="{}", instance_id=name, fill=fill) for fill in map(_fill, range(3))]
    own_fills.tell(fills)
    for tick in range(ITERATIONS):
        lease = leases.claim(name, epoch=1, tick=tick, task_id=f"{name}.1.{tick}.000000")
        assert isinstance(lease, Lease), lease
        levels = [(level, Role.QUOTE) for level in range(ORDERS)] if tick < 2 else []
        ids = leases.authorize(lease, window_ms=1, orders=levels).client_order_ids if levels else ()
        orders = [_order(level, given) for level, given in enumerate(ids)]
        leases.commit(
            lease,
            resolved=True,
            state_json=state_json,
            interval_ms=0,
            next_task_id=f"{name}.1.{tick + 1}.000000",
            order_ids=[order.order_id for order in orders] or None,
            books_json=_books(orders) if orders else "",
            intents={},
            look_json=LOOK if orders else "",
        )
    client.zadd(keys.DUE, {name: time.time() * 1000 + 86_400_000})


def _copy(client: redis.Redis, numbers: range) -> None:
    pipe = client.pipeline(transaction=False)
    far_ms = time.time() * 1000 + 86_400_000
    for number in numbers:
        name, template = name_of(number), name_of(number % TEMPLATES)
        for key in KINDS.values():
            pipe.copy(key(template), key(name))
        slot = number % PER_ACCOUNT + 1
        pipe.hset(keys.record(name), mapping={"account": account_of(number), "slot": slot})
        pipe.hset(keys.slots(account_of(number)), mapping={name: slot, f"#{slot}": name})
        now_ms = int(time.time() * 1000)
        heard: dict[Any, Any] = {
            "since": now_ms,
            "heard": now_ms,
            "filled": now_ms,
            f"orders of {name}": now_ms,
        }
        pipe.hset(keys.heard(account_of(number)), mapping=heard)
        pipe.sadd(keys.INSTANCES, name)
        pipe.zadd(keys.DUE, {name: far_ms})
    pipe.execute()


def _order(level: int, client_order_id: int) -> KnownOrder:
    return KnownOrder(
        order_id=f"{114_000_000_000 + client_order_id}",
        client_order_id=client_order_id,
        side=Side.BUY if level % 2 else Side.SELL,
        price=Decimal("150.01"),
        quantity=Decimal("0.25"),
        accepted_at_ms=int(time.time() * 1000),
    )


def _book() -> OrderBook:
    def levels(step: int) -> tuple[BookLevel, ...]:
        found = (Decimal(15_000 + step * number) / 100 for number in range(1, LEVELS + 1))
        return tuple(BookLevel(price=price, quantity=Decimal("12.34")) for price in found)

    return OrderBook(symbol=SYMBOL, bids=levels(-1), asks=levels(1), updated_at_ms=int(time.time() * 1000))


def _books(orders: list[KnownOrder]) -> str:
    now_ms = int(time.time() * 1000)
    return Books(
        began_at_ms=now_ms,
        read_until_ms=now_ms,
        book_at_ms=now_ms,
        own_changed_at_ms=now_ms,
        orders={order.order_id: order for order in orders},
    ).model_dump_json()


def _fill(number: int) -> Fill:
    return Fill(
        trade_id=f"{8_000_000 + number}",
        order_id=f"{114_000_000_000 + number}",
        client_order_id=1 << 20 | number,
        symbol=SYMBOL,
        side=Side.BUY,
        price=Decimal("150.01"),
        quantity=Decimal("0.25"),
        fee=Decimal("0.003"),
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=int(time.time() * 1000),
    )


def _used_bytes(client: redis.Redis) -> int:
    return int(cast("Any", client.info("memory"))["used_memory"])
