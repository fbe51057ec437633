from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.journal_tail import JournalTail, is_own, reaction, tail_of
from market.orders import Role
from state.client_ids import ClientOrderId

SLOT = 7


def order(event: str, at_us: int, role: Role, *, slot: int = SLOT) -> dict[str, Any]:
    client_id = ClientOrderId(slot=slot, level=0, role=role, generation=3).encode()
    return {"event": event, "at_us": at_us, "client_id": client_id, "side": "Bid"}


def asked(at_us: int, path: str, account: str | None = "demo") -> dict[str, Any]:
    return {"event": "request", "at_us": at_us, "method": "GET", "path": path, "account": account}


def test_a_reaction_is_from_the_fill_of_a_quote_to_the_acceptance_of_the_hedge() -> None:
    found = reaction(
        [
            asked(50, "/api/v1/orders"),
            order("fill", 80, Role.HEDGE),
            order("fill", 90, Role.QUOTE, slot=SLOT + 1),
            order("fill", 100, Role.QUOTE),
            asked(200, "/api/v1/orders"),
            asked(250, "/api/v1/orders", account="other"),
            asked(260, "/sim/orders"),
            asked(300, "/api/v1/depth", account=None),
            order("order_accepted", 400, Role.HEDGE, slot=SLOT + 1),
            order("order_accepted", 450, Role.QUOTE),
            order("order_accepted", 500, Role.HEDGE),
            order("order_accepted", 600, Role.HEDGE),
        ],
        slot=SLOT,
        account="demo",
    )

    assert found is not None
    assert (found.filled_us, found.last_read_us, found.accepted_us) == (100, 300, 500)
    assert found.requests == ("GET /api/v1/orders", "GET /api/v1/depth", "the hedge")


def test_a_fill_that_nothing_follows_is_no_reaction() -> None:
    seen = [order("order_accepted", 50, Role.HEDGE), order("fill", 100, Role.QUOTE)]
    assert reaction(seen, slot=SLOT, account="demo") is None
    assert reaction([], slot=SLOT, account="demo") is None


def test_an_order_without_a_client_order_id_is_nobodys() -> None:
    entry = {"event": "fill", "client_id": None}
    assert not is_own(entry, "fill", slot=0, role=Role.QUOTE)


def test_a_line_that_is_being_written_comes_with_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = [json.dumps({"n": number}) + "\n" for number in range(1, 4)]
    path.write_text(lines[0] + lines[1][:4], encoding="utf-8")
    tail = JournalTail(path)

    assert tail.more() == [{"n": 1}]
    assert tail.more() == []
    with path.open("a", encoding="utf-8") as file:
        file.write(lines[1][4:] + lines[2])
    assert tail.more() == [{"n": 2}, {"n": 3}]


def test_waiting_ends_with_what_was_looked_for_or_with_the_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n":1}\n', encoding="utf-8")
    assert JournalTail(path).until(bool, 5) == [{"n": 1}]
    assert JournalTail(path).until(lambda seen: len(seen) > 1, 0.02) == [{"n": 1}]


def test_an_error_names_the_last_entries_only() -> None:
    entries = [asked(1, "/a"), asked(2, "/b"), order("fill", 3, Role.QUOTE)]
    assert tail_of(entries, 2) == "request /b, fill Bid"
    assert tail_of([]) == "nothing"
