"""Names of keys: no two things share one, and what belongs to an instance stays together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from state import keys

OF_AN_INSTANCE = (
    *(keys.record, keys.stop, keys.config, keys.generations, keys.intents, keys.released),
    *(keys.trace, keys.own_fills),
)
OF_OTHERS = (keys.feed_lease, keys.feed_cursor, keys.heard, keys.slots, keys.budget, keys.alerts_outbox)


def test_no_two_things_share_a_key() -> None:
    made = [of(name) for of in (*OF_AN_INSTANCE, *OF_OTHERS) for name in ("a", "b")]
    markets = [keys.market(venue, symbol) for venue in ("a", "b") for symbol in ("a", "b")]
    fixed = [text for name, text in vars(keys).items() if name.isupper() and name != "PREFIX"]
    names = [*made, *markets, *fixed]
    assert len(set(names)) == len(names)
    assert all(name.startswith("cleanbook:") for name in names)


@pytest.mark.parametrize("of", OF_AN_INSTANCE)
def test_the_keys_of_an_instance_are_kept_together(of: Callable[[str], str]) -> None:
    assert "{mm_01}" in of("mm_01")


def test_a_record_is_told_from_what_is_none_by_its_key() -> None:
    assert keys.instance_of(keys.record("mm_01")) == "mm_01"
    others = (keys.stop("mm_01"), f"x{keys.record('mm_01')}", f"{keys.record('mm_01')}s", keys.DUE, "")
    assert {keys.instance_of(key) for key in others} == {""}
