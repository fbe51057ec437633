"""Client order ids that carry ownership: 12 bits slot, 8 bits level, 2 bits role, 10 bits generation.

Backpack's `clientId` is an unsigned 32-bit integer. With the instance's slot in it, own orders are
recognised from the exchange's list alone, after any crash.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from market.orders import Role
from state import keys
from state.connection import StateError
from state.scripts import Scripts

SLOTS = 4095  # slot 0 stays free, so that small ids chosen by people are never ours
LEVELS = 256
GENERATIONS = 1024


class NoSlotLeft(StateError):
    """Raised when an account has no free slot for another instance."""


class IntentUnreadable(StateError):
    """Raised when an order that was written down before it was sent cannot be read any more."""


@dataclass(frozen=True, kw_only=True)
class ClientOrderId:
    """The parts of a client order id of ours; `ValueError` for one that would spill into another."""

    slot: int
    level: int
    role: Role
    generation: int

    def __post_init__(self) -> None:
        # A level of 256 would carry into the slot: the order would belong to another instance.
        for name, value, count in (
            ("slot", self.slot, SLOTS + 1),
            ("level", self.level, LEVELS),
            ("generation", self.generation, GENERATIONS),
        ):
            if not 0 <= value < count:
                raise ValueError(f"{name} {value} of a client order id must be from 0 to {count - 1}")

    def encode(self) -> int:
        """Return the 32-bit number."""
        return (self.slot << 20) | (self.level << 12) | (int(self.role) << 10) | self.generation


def decode(client_order_id: int) -> ClientOrderId:
    """Return the parts of any 32-bit client order id; whether it is ours is told by the slot."""
    return ClientOrderId(
        slot=client_order_id >> 20,
        level=(client_order_id >> 12) & 0xFF,
        role=Role((client_order_id >> 10) & 0b11),
        generation=client_order_id & 0x3FF,
    )


def level_role(client_order_id: int) -> tuple[int, int]:
    """Return what an order of ours is for: its level and role."""
    parts = decode(client_order_id)
    return parts.level, int(parts.role)


def owns(slot: int, client_order_id: int | None) -> bool:
    """Tell whether an order with this client order id belongs to the instance in `slot`."""
    return client_order_id is not None and client_order_id >> 20 == slot


def generation_field(level: int, role: Role) -> str:
    """Return the name under which generations of a level and role are counted."""
    return f"{level}:{int(role)}"


def intent_field(client_order_id: int) -> str:
    """Return the name under which an order is written down before it is sent, whatever its slot."""
    parts = decode(client_order_id)
    return f"{generation_field(parts.level, parts.role)}:{parts.generation}"


def client_order_ids(slot: int, intents: Sequence[str]) -> dict[int, int]:
    """Return client order id to time, ms, from the intents' fields and values, one after the other.

    Raises `IntentUnreadable`.
    """
    found = {}
    for name, at_ms in zip(intents[::2], intents[1::2], strict=True):
        try:
            level, role, generation = (int(part) for part in name.split(":"))
            parts = ClientOrderId(slot=slot, level=level, role=Role(role), generation=generation)
            found[parts.encode()] = int(at_ms)
        except ValueError as error:
            raise IntentUnreadable(
                f"an intent is damaged, {name[:40]!r} at {at_ms[:40]!r}: {error}"
            ) from error
    return found


def intents_json(intents: Mapping[int, int] | None) -> str:
    """Return intents as the scripts take them; None keeps those that are there."""
    if intents is None:
        return "-"
    return json.dumps({intent_field(client_order_id): at_ms for client_order_id, at_ms in intents.items()})


def allocate_slot(scripts: Scripts, account: str, instance_id: str) -> int:
    """Return the slot of `instance_id` on `account`, allocated on first use and kept.

    The first choice follows from the id itself, so that a state server that lost its data hands out
    the same slots again. Raises `NoSlotLeft`.
    """
    preferred = zlib.crc32(instance_id.encode()) % SLOTS + 1
    slot = scripts.call_int("allocate_slot", [keys.slots(account)], [instance_id, preferred])
    if slot == 0:
        raise NoSlotLeft(f"account {account} already has {SLOTS} instances; use another account")
    return slot


def has_slot(client: redis.Redis, account: str, instance_id: str) -> bool:
    """Tell whether an instance has a slot on an account already."""
    return bool(client.hexists(keys.slots(account), instance_id))


def remember_slots(client: redis.Redis, account: str, slots: Mapping[str, int]) -> None:
    """Note slots that instances of an account have by their own records; what is known otherwise stands."""
    taken = [(instance_id, slot) for instance_id, slot in slots.items() if 0 < slot <= SLOTS]
    pipeline = client.pipeline(transaction=False)
    for instance_id, slot in taken:
        pipeline.hsetnx(keys.slots(account), f"#{slot}", instance_id)
    is_new = pipeline.execute()
    for (instance_id, slot), new in zip(taken, is_new, strict=True):
        if new:
            pipeline.hsetnx(keys.slots(account), instance_id, str(slot))
    pipeline.execute()


def slot_owner(client: redis.Redis, account: str, slot: int) -> str:
    """Return the instance that a slot of an account belongs to, empty when it is nobody's."""
    return str(client.hget(keys.slots(account), f"#{slot}") or "")
