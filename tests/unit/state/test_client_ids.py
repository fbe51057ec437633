"""Client order ids that carry ownership, and the slots behind them."""

from __future__ import annotations

import zlib

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from market.orders import Role
from state import keys
from state.client_ids import (
    GENERATIONS,
    LEVELS,
    SLOTS,
    ClientOrderId,
    IntentUnreadable,
    NoSlotLeft,
    allocate_slot,
    client_order_ids,
    decode,
    generation_field,
    has_slot,
    intent_field,
    level_role,
    owns,
    remember_slots,
    slot_owner,
)
from state.scripts import Scripts

any_id = st.builds(
    ClientOrderId,
    slot=st.integers(0, SLOTS),
    level=st.integers(0, LEVELS - 1),
    role=st.sampled_from(Role),
    generation=st.integers(0, GENERATIONS - 1),
)


@given(any_id)
def test_every_id_fits_32_bits_and_is_decoded_to_its_parts(parts: ClientOrderId) -> None:
    number = parts.encode()
    assert 0 <= number < 2**32
    assert decode(number) == parts


@given(any_id, st.integers(0, SLOTS))
def test_an_id_belongs_to_its_own_slot_only(parts: ClientOrderId, slot: int) -> None:
    assert owns(slot, parts.encode()) is (slot == parts.slot)


@given(st.integers(0, 2**32 - 1))
def test_every_32_bit_number_can_be_decoded(number: int) -> None:
    assert decode(number).encode() == number


@pytest.mark.parametrize("number", [None, 0, 1, 12_345, 2**20 - 1, -1, 2**32, 2**63])
def test_orders_without_a_number_of_ours_belong_to_no_slot(number: int | None) -> None:
    assert not any(owns(slot, number) for slot in (1, 7, SLOTS))


@given(any_id)
def test_an_order_is_for_its_level_and_role(parts: ClientOrderId) -> None:
    assert level_role(parts.encode()) == (parts.level, int(parts.role))


@pytest.mark.parametrize(("name", "most"), [("slot", 4095), ("level", 255), ("generation", 1023)])
@pytest.mark.parametrize("beyond", [True, False])
def test_a_part_that_would_spill_into_another_is_refused(name: str, most: int, beyond: bool) -> None:
    parts = {"slot": 1, "level": 0, "generation": 0, name: most}
    assert ClientOrderId(role=Role.QUOTE, **parts).encode() < 2**32
    wrong = most + 1 if beyond else -1
    with pytest.raises(ValueError, match=f"^{name} {wrong} of .* from 0 to {most}$"):
        ClientOrderId(role=Role.QUOTE, **(parts | {name: wrong}))


def test_levels_and_roles_count_their_generations_apart() -> None:
    fields = {generation_field(level, role) for level in range(LEVELS) for role in Role}
    assert len(fields) == LEVELS * len(Role)


def test_an_instance_keeps_its_slot(scripts: Scripts) -> None:
    first = allocate_slot(scripts, "account", "bp_sol_01")
    allocate_slot(scripts, "account", "bp_sol_02")
    assert allocate_slot(scripts, "account", "bp_sol_01") == first


def test_an_instance_gets_the_same_slot_again_after_all_data_was_lost(
    client: redis.Redis, scripts: Scripts
) -> None:
    first = allocate_slot(scripts, "account", "bp_sol_01")
    client.delete(keys.slots("account"))
    assert allocate_slot(scripts, "account", "bp_sol_01") == first


@pytest.mark.parametrize(("name", "slot"), [("bp_sol_01", 3845), ("bot_5591", 1), ("bot_10082", SLOTS)])
def test_every_version_gives_a_name_the_same_first_slot(scripts: Scripts, name: str, slot: int) -> None:
    assert allocate_slot(scripts, "account", name) == slot


def test_slot_0_is_never_given_away(scripts: Scripts) -> None:
    slots = [allocate_slot(scripts, "account", f"bot_{number}") for number in range(500)]
    assert min(slots) >= 1
    assert max(slots) <= SLOTS


def test_instances_of_an_account_never_share_a_slot(scripts: Scripts) -> None:
    names = [f"bot_{number}" for number in range(500)]
    wanted = {zlib.crc32(name.encode()) % SLOTS + 1 for name in names}
    assert len(wanted) < len(names), "no two names want the same slot, so this test shows nothing"
    slots = {allocate_slot(scripts, "account", name) for name in names}
    assert len(slots) == len(names)


def test_a_taken_slot_leads_to_the_next_free_one(client: redis.Redis, scripts: Scripts) -> None:
    wanted = zlib.crc32(b"bp_sol_01") % SLOTS + 1
    client.hset(keys.slots("account"), f"#{wanted}", "somebody")
    client.hset(keys.slots("account"), f"#{wanted % SLOTS + 1}", "somebody else")
    assert allocate_slot(scripts, "account", "bp_sol_01") == (wanted + 1) % SLOTS + 1


def test_the_search_for_a_free_slot_goes_round_past_the_last(client: redis.Redis, scripts: Scripts) -> None:
    for slot in {*range(1, SLOTS + 1)} - {3}:
        client.hset(keys.slots("account"), f"#{slot}", "somebody")
    assert allocate_slot(scripts, "account", "bp_sol_01") == 3


def test_the_last_free_slot_is_found_however_far_it_is(client: redis.Redis, scripts: Scripts) -> None:
    wanted = zlib.crc32(b"bp_sol_01") % SLOTS + 1
    last = (wanted - 2) % SLOTS + 1
    for slot in {*range(1, SLOTS + 1)} - {last}:
        client.hset(keys.slots("account"), f"#{slot}", "somebody else")
    assert allocate_slot(scripts, "account", "bp_sol_01") == last


def test_slots_of_different_accounts_have_nothing_to_do_with_each_other(
    client: redis.Redis, scripts: Scripts
) -> None:
    first = allocate_slot(scripts, "one", "bp_sol_01")
    assert allocate_slot(scripts, "other", "bp_sol_01") == first
    assert client.exists(keys.slots("one"), keys.slots("other")) == 2


def test_a_full_account_says_what_to_do(client: redis.Redis, scripts: Scripts) -> None:
    for slot in range(1, SLOTS + 1):
        client.hset(keys.slots("account"), f"#{slot}", f"bot_{slot}")
    with pytest.raises(NoSlotLeft, match="use another account"):
        allocate_slot(scripts, "account", "one too many")


def test_slots_told_by_records_are_noted_where_they_can_be_ones(client: redis.Redis) -> None:
    remember_slots(client, "acc", {"none": 0, "below": -1, "first": 1, "last": SLOTS, "beyond": SLOTS + 1})
    assert [slot_owner(client, "acc", slot) for slot in (0, -1, 1, SLOTS, SLOTS + 1)] == [
        *("", "", "first", "last", ""),
    ]
    assert [has_slot(client, "acc", name) for name in ("first", "last", "none", "beyond")] == [
        *(True, True, False, False),
    ]
    assert client.hget(keys.slots("acc"), "last") == str(SLOTS)


def test_what_is_known_of_slots_stands(client: redis.Redis) -> None:
    remember_slots(client, "acc", {"a": 7})
    remember_slots(client, "acc", {"b": 7, "a": 8})
    assert (slot_owner(client, "acc", 7), slot_owner(client, "acc", 8)) == ("a", "a")
    assert client.hget(keys.slots("acc"), "a") == "7"
    assert not has_slot(client, "acc", "b")


def test_intents_are_read_back_with_their_times() -> None:
    numbers = [
        ClientOrderId(slot=7, level=level, role=role, generation=generation).encode()
        for level, role, generation in ((0, Role.QUOTE, 0), (255, Role.HEDGE, 1_023), (3, Role.CLEANUP, 5))
    ]
    fields = [text for at_ms, number in enumerate(numbers) for text in (intent_field(number), str(at_ms))]
    assert client_order_ids(7, fields) == {number: at_ms for at_ms, number in enumerate(numbers)}
    assert client_order_ids(7, []) == {}


@pytest.mark.parametrize(
    "fields", [["1:0:2"], ["1:0:2", "x"], ["1:0", "5"], ["1:9:2", "5"], ["256:0:2", "5"], ["a:0:2", "5"]]
)
def test_intents_that_cannot_be_read_say_so(fields: list[str]) -> None:
    with pytest.raises((IntentUnreadable, ValueError)):
        client_order_ids(7, fields)
