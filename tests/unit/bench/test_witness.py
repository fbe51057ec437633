from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.witness import read_journal, witness
from market.orders import Role, Side
from state.client_ids import ClientOrderId

SLOT = 3


def entry(
    event: str, at_ms: int, *, role: Role = Role.QUOTE, slot: int = SLOT, **more: Any
) -> dict[str, Any]:
    """Return a line of the journal about order "1", a bid of 2 at 100."""
    client_id = ClientOrderId(slot=slot, level=0, role=role, generation=1).encode()
    return {
        "event": event,
        "at_ms": at_ms,
        "order_id": "1",
        "client_id": client_id,
        "side": "Bid",
        "price": "100",
        "quantity": "2",
        "post_only": True,
        "status": "New",
        **more,
    }


def fill(at_ms: int, quantity: str, status: str) -> dict[str, Any]:
    return entry(
        "fill", at_ms, quantity=quantity, status=status, fee="0.01", fee_asset="SOL", maker=True, price="99.9"
    )


def test_an_order_lasts_from_its_acceptance_to_its_last_fill() -> None:
    seen = witness(
        [entry("order_accepted", 10), fill(20, "0.5", "PartiallyFilled"), fill(30, "1.5", "Filled")],
        slot=SLOT,
        base_asset="SOL",
    )

    (line,) = seen.lines
    assert (line.began_at_ms, line.ended_at_ms, line.side, line.price) == (10, 30, Side.BUY, Decimal(100))
    assert seen.resting == 0
    assert [(each.at_ms, each.price, each.quantity) for each in seen.fills] == [
        (20, Decimal("99.9"), Decimal("0.5")),
        (30, Decimal("99.9"), Decimal("1.5")),
    ]


def test_fees_in_the_base_asset_are_taken_off_what_was_bought() -> None:
    seen = witness(
        [entry("order_accepted", 10), fill(20, "0.5", "PartiallyFilled"), fill(30, "1.5", "Filled")],
        slot=SLOT,
        base_asset="SOL",
    )

    assert seen.net == [(20, Decimal("0.49")), (30, Decimal("1.98"))]


def test_a_cancelled_order_ends_and_one_that_rests_does_not() -> None:
    entries = [
        entry("order_accepted", 10),
        entry("order_accepted", 11, order_id="2", role=Role.CLOSE),
        entry("order_cancelled", 40),
    ]
    seen = witness(entries, slot=SLOT, base_asset="SOL")

    assert [(line.role, line.ended_at_ms) for line in seen.lines] == [(Role.QUOTE, 40), (Role.CLOSE, None)]
    assert seen.resting == 1


def test_orders_of_others_are_left_out() -> None:
    entries = [
        entry("order_accepted", 10, slot=SLOT + 1),
        entry("order_accepted", 11, client_id=None),
        {"event": "request", "at_ms": 12},
    ]

    assert witness(entries, slot=SLOT, base_asset="SOL").lines == []


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n{"n"', encoding="utf-8")

    assert read_journal(path) == [{"n": 1}, {"n": 2}]
