"""Starts of one command share what they ask, and none of them relies on what is old."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from ledger import database
from runner.lifecycle import StateLost, start_instance
from runner.looks import FRESH_S, Looks
from runner.place import own_slot
from state import keys
from state.record import Record
from tests.factories import ACCOUNT, INSTANCE_ID, SYMBOL
from tests.integration.damage_bench import OTHER, DamageBench


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def start(bench: DamageBench, name: str, looks: Looks) -> bool:
    return start_instance(bench.context, name, by="test", looks=looks).result.started


def asked(bench: DamageBench) -> Counter[str]:
    return Counter(call.name for call in bench.venue.calls)


def test_the_second_start_asks_nothing_that_the_first_has_asked(damaged: DamageBench) -> None:
    with Looks(damaged.settings) as looks:
        assert start(damaged, INSTANCE_ID, looks)
        first = asked(damaged)
        assert start(damaged, OTHER, looks)

    assert first["open_orders"] == first["order_book"] == first["balances"] == 1
    assert asked(damaged) == first


def test_what_is_old_is_asked_again(damaged: DamageBench) -> None:
    clock = Clock()
    with Looks(damaged.settings, clock) as looks:
        assert start(damaged, INSTANCE_ID, looks)
        clock.now_s += FRESH_S + 0.1
        assert start(damaged, OTHER, looks)

    assert asked(damaged)["open_orders"] == 2


def test_each_start_by_itself_looks_by_itself(damaged: DamageBench) -> None:
    damaged.start(INSTANCE_ID)
    damaged.start(OTHER)

    assert asked(damaged)["open_orders"] == 2


def test_orders_in_its_slot_stop_a_start_whoever_had_listed_them(damaged: DamageBench) -> None:
    damaged.rest("of before")
    with Looks(damaged.settings) as looks:
        assert start(damaged, OTHER, looks)
        with pytest.raises(StateLost, match="of before"):
            start(damaged, INSTANCE_ID, looks)

    assert asked(damaged)["open_orders"] == 1


def test_a_lost_list_of_slots_is_made_up_for_once(damaged: DamageBench) -> None:
    damaged.start(OTHER)
    taken = damaged.record(OTHER).slot
    damaged.client.delete(keys.slots(ACCOUNT))
    with Looks(damaged.settings) as looks:
        assert start(damaged, INSTANCE_ID, looks)

    assert damaged.client.hget(keys.slots(ACCOUNT), OTHER) == str(taken)


def test_a_thousand_records_are_read_once_however_long_the_starts_take(
    damaged: DamageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, clock = [], Clock()
    really_read = damaged.context.instances.read_all

    def read_and_count(note: Callable[[str, ValueError], None] | None) -> Sequence[Record]:
        reads.append(clock.now_s)
        clock.now_s += FRESH_S + 0.1
        return really_read(note)

    monkeypatch.setattr(damaged.context.instances, "read_all", read_and_count)
    with Looks(damaged.settings, clock) as looks:
        assert start(damaged, INSTANCE_ID, looks)
        assert start(damaged, OTHER, looks)
        assert own_slot(damaged.context, "another account", INSTANCE_ID, looks)

    assert len(reads) == 1


def test_the_ledger_is_opened_once(damaged: DamageBench, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.open_ledger(damaged.settings.ledger_url):
        pass
    opened = []
    really_open = database.open_ledger

    def open_and_count(url: str) -> database.Ledger:
        opened.append(url)
        return really_open(url)

    monkeypatch.setattr(database, "open_ledger", open_and_count)
    with Looks(damaged.settings) as looks:
        assert start(damaged, INSTANCE_ID, looks)
        assert start(damaged, OTHER, looks)

    assert len(opened) == 1


def test_an_answer_counts_from_before_it_was_asked_for(damaged: DamageBench) -> None:
    clock, answers = Clock(), iter(("first", "second"))
    looks = Looks(damaged.settings, clock)

    def take_long() -> str:
        clock.now_s += FRESH_S + 0.1
        return next(answers)

    assert looks.once(SYMBOL, take_long) == "first"
    assert looks.once(SYMBOL, take_long) == "second"
