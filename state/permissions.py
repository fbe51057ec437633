"""The permission to send orders, and what it waits for before it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from market.orders import Role
from state.client_ids import ClientOrderId, generation_field
from state.connection import StateError
from state.durability import save
from state.scripts import Reply, Scripts, Unconfirmed


class AuthorizationRefused(StateError):
    """Raised when requests that create orders are not allowed (any more): send nothing."""


@dataclass(frozen=True, kw_only=True)
class Granted:
    """Permission to send orders, given at one moment."""

    #: State server's time of the permission, ms; requests are signed with this time and no later one.
    at_ms: int
    client_order_ids: tuple[int, ...]


def order_fields(orders: Sequence[tuple[int, Role]]) -> list[str]:
    """Return what the scripts call the level and role of each order."""
    return [generation_field(level, role) for level, role in orders]


def saved_first(ask: Callable[[], Reply], client: redis.Redis, scripts: Scripts, instance_id: str) -> Reply:
    """Return what `ask` is told once nothing it needs waits for the disk. Raises `AuthorizationRefused`.

    More than once only when a stop comes in between, and that refuses.
    """
    for _ in range(3):
        try:
            reply = ask()
        except Unconfirmed as error:
            raise AuthorizationRefused(f"not authorised: {error}") from error
        if reply[:2] != ["refused", "unsaved"]:
            return reply
        if not save(client, scripts, instance_id, str(reply[2])):
            break
    raise AuthorizationRefused(f"not authorised: the state server has not written to its disk: {reply[2]}")


def granted(reply: Reply, slot: int, orders: Sequence[tuple[int, Role]]) -> Granted:
    """Return the permission in the reply of a script. Raises `AuthorizationRefused`."""
    if reply[0] == "refused":
        raise AuthorizationRefused(f"not authorised: {reply[1]}")
    generations = [int(value) for value in cast("list[int]", reply[2:])]
    return Granted(
        at_ms=int(reply[1]),
        client_order_ids=tuple(
            ClientOrderId(slot=slot, level=level, role=role, generation=generation).encode()
            for (level, role), generation in zip(orders, generations, strict=True)
        ),
    )
