"""`pnl`: figures, lines, marks, and what is never added up."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from cli.output import Output
from cli.pnl import FIGURES
from ledger.bookings import Booking, FillBooking, PositionSnapshot, SnapshotBooking
from market.book import BookLevel, OrderBook
from market.orders import Side
from state import keys
from state.market_data import MarketData
from state.scripts import Scripts
from tests.unit.cli.ledger_bench import LedgerBench, by
from tests.unit.ledger.story import ACCOUNT, DAY_MS, INSTANCE, PERP, SYMBOL, T0, event, fill, funding


def trade(number: int, side: Side, price: str, **more: object) -> FillBooking:
    """Return a fill of one, with a fee of 0.01."""
    values = {"fee": Decimal("0.01"), "filled_at_ms": T0 + number, "order_id": str(number), **more}
    return fill(str(number), side=side, price=Decimal(price), **values)


def round_trip(number: int, bought: str, sold: str, **more: object) -> tuple[Booking, Booking]:
    return trade(number, Side.BUY, bought, **more), trade(number + 1, Side.SELL, sold, **more)


def put_book(books: LedgerBench, bid: str, ask: str, *, age_ms: int = 0, venue: str = "backpack") -> None:
    client = books.bench.client
    levels = [(BookLevel(price=Decimal(price), quantity=Decimal(1)),) for price in (bid, ask)]
    book = OrderBook(symbol=SYMBOL, bids=levels[0], asks=levels[1], updated_at_ms=T0)
    MarketData(client, Scripts(client)).put(venue, [book])
    key = keys.market(venue, SYMBOL)
    client.hset(key, "received_at", int(str(client.hget(key, "received_at"))) - age_ms)


def snapshot(mark: str, *, at_ms: int = T0) -> SnapshotBooking:
    held = PositionSnapshot(net_quantity=Decimal(1), entry_price=None, mark_price=Decimal(mark))
    return SnapshotBooking(account=ACCOUNT, at_ms=at_ms, balances={}, positions={SYMBOL: held})


def mark(books: LedgerBench) -> dict[str, object]:
    (position,) = books.run("pnl", "--json").json["positions"]
    found = position["mark"]
    assert isinstance(found, dict)
    return found


def test_a_line_has_every_figure(books: LedgerBench) -> None:
    books.book(*round_trip(1, "100", "103"), trade(3, Side.BUY, "101", is_maker=False, fee=Decimal("0.02")))
    put_book(books, "100", "101")

    ran = books.run("pnl", "--json")
    (line,) = ran.json["lines"]

    expected = {
        "instance_id": INSTANCE,
        "venue": "backpack",
        "symbols": [SYMBOL],
        "quote_asset": "USDC",
        "realized": "3",
        "unrealized": "-0.5",
        "fees": "0.04",
        "funding": "0",
        "total": "2.46",
        "volume": "304",
        "maker_share": "0.667763",
        "wear_bps": "0.000000",
        "fills": 3,
    }
    assert {name: line[name] for name in expected} == expected
    assert ran.json["totals"][0]["total"] == "2.46"
    assert ran.json["up_to_date"] is True


def test_the_table_has_a_total_and_explains_itself(books: LedgerBench) -> None:
    books.book(*round_trip(1, "100", "103.123456"), *round_trip(3, "100", "99", instance_id="mm_02"))

    ran = books.run("pnl")

    head, first, second, total = ran.out.splitlines()
    assert head.split("  ")[0] == "INSTANCE"
    assert [title.strip() for title in head.split("  ") if title.strip()][2:] == [*FIGURES]
    assert first.split()[:8] == [INSTANCE, SYMBOL, "3.12346", "0", "0.02", "0", "3.10346", "USDC"]
    assert second.split()[-3:] == ["100.0", "51.26", "2"]
    assert total.split()[:7] == ["total", "2.12346", "0", "0.04", "0", "2.08346", "USDC"]
    assert "\x1b" not in ran.out
    for word in ("REALISED", "UNREALISED", "WEAR BPS"):
        assert f"    {word} " in books.run("pnl", "--help").out.replace("\n  ", "\n    ")


def test_gains_and_losses_have_colours_on_a_terminal_only(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(*round_trip(1, "100", "103"), *round_trip(3, "100", "99", instance_id="mm_02"))

    assert "\x1b" not in books.run("pnl").out
    monkeypatch.setattr(Output, "colours", lambda *_: True)
    coloured = books.run("pnl").out

    assert "\x1b[32m" in coloured.splitlines()[1]
    assert "\x1b[31m" in coloured.splitlines()[2]


def test_without_a_mark_the_unrealised_profit_is_a_dash_and_null(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(trade(1, Side.BUY, "100"))
    monkeypatch.setattr("ledger.glances.last_fill", lambda *_: None)

    assert books.run("pnl").out.splitlines()[1].split()[2:7] == ["0", "-", "0.01", "0", "-"]
    ran = books.run("pnl", "--json").json
    assert (ran["lines"][0]["unrealized"], ran["lines"][0]["total"]) == (None, None)
    assert ran["positions"][0]["mark"] is None
    (row,) = books.rows("pnl")
    assert (row["unrealized"], row["total"], row["wear_bps"]) == ("", "", "")


def test_the_order_book_of_the_last_minute_is_the_first_mark(books: LedgerBench) -> None:
    books.book(trade(1, Side.BUY, "100"), snapshot("98"))
    put_book(books, "100", "103", age_ms=30_000)

    found = mark(books)

    assert (found["price"], found["source"]) == ("101.5", "book")
    assert 30_000 <= int(str(found["age_ms"])) < 60_000


def test_an_old_book_gives_way_to_the_newest_snapshot(books: LedgerBench) -> None:
    now_ms = time.time_ns() // 1_000_000
    books.book(
        trade(1, Side.BUY, "100"),
        snapshot("97", at_ms=now_ms - 500_000),
        snapshot("98", at_ms=now_ms - 300_000),
    )
    put_book(books, "100", "103", age_ms=60_000)

    found = mark(books)

    assert (found["price"], found["source"]) == ("98", "snapshot")
    assert 300_000 <= int(str(found["age_ms"])) < 360_000
    assert "SOL_USDC (backpack) is valued at 98, from the newest snapshot, 5 min old" in books.run("pnl").err


def test_the_last_fill_of_the_market_is_the_last_mark(books: LedgerBench) -> None:
    books.book(trade(1, Side.BUY, "100"), trade(2, Side.SELL, "104", instance_id="", order_id="human"))
    put_book(books, "100", "103", venue="backpack-simulated")

    found = {p["instance_id"]: p["mark"] for p in books.run("pnl", "--json").json["positions"]}

    assert (found[INSTANCE]["price"], found[INSTANCE]["source"]) == ("104", "last_fill")
    assert found[INSTANCE]["at"] == "2026-01-02T00:00:00.002Z"


def test_venues_have_their_own_marks_and_are_not_added_up(books: LedgerBench) -> None:
    play = "backpack-simulated:0123456789"
    books.book(trade(1, Side.BUY, "100"), trade(1, Side.BUY, "100", account=play))
    put_book(books, "101", "101")
    put_book(books, "90", "90", venue="backpack-simulated")

    ran = books.run("pnl", "--json").json

    assert {line["venue"]: line["unrealized"] for line in ran["lines"]} == {
        "backpack": "1",
        "backpack-simulated": "-10",
    }
    assert [line["fills"] for line in ran["totals"]] == [1, 1]
    assert books.run("pnl").out.splitlines()[0].startswith("VENUE")


def test_quote_assets_are_never_added_up(books: LedgerBench) -> None:
    euro = {"symbol": "SOL_EUR", "quote_asset": "EUR", "fee_asset": "EUR"}
    books.book(*round_trip(1, "100", "103"), *round_trip(3, "100", "105", **euro))

    ran = books.run("pnl", "--json").json

    assert {line["quote_asset"]: line["realized"] for line in ran["totals"]} == {"USDC": "3", "EUR": "5"}
    assert len(ran["lines"]) == 2


def test_several_instances_of_one_market_add_up_to_its_trades(books: LedgerBench) -> None:
    books.book(
        trade(1, Side.BUY, "100"),
        trade(2, Side.BUY, "102", instance_id="mm_02"),
        trade(3, Side.SELL, "110"),
        funding("-0.5", at_ms=T0 + 10, symbol=SYMBOL),
    )
    put_book(books, "104", "104")

    ran = books.run("pnl", "--json").json
    lines = by(ran["lines"], "instance_id")

    assert (lines[INSTANCE]["realized"], lines["mm_02"]["unrealized"]) == ("10", "2")
    # Only mm_02 held anything when the funding was paid.
    assert (lines["mm_02"]["funding"], lines[INSTANCE]["funding"]) == ("-0.5", "0")
    (total,) = ran["totals"]
    # 110 - 100 - 102 + 104 - 0.5 - 0.03
    assert (total["total"], total["fills"], total["funding"]) == ("11.47", 3, "-0.5")
    assert [p["instance_id"] for p in ran["positions"]] == ["mm_02"]


def test_names_choose_instances(books: LedgerBench) -> None:
    books.book(
        *round_trip(1, "100", "103"),
        *round_trip(3, "100", "105", instance_id="mm_02"),
        *round_trip(5, "100", "107", instance_id="mm_03"),
    )

    assert [row["instance_id"] for row in books.rows("pnl", "mm_02")] == ["mm_02"]
    ran = books.run("pnl", "mm_03", INSTANCE, "--json").json
    assert [line["instance_id"] for line in ran["lines"]] == [INSTANCE, "mm_03"]
    assert ran["totals"][0]["realized"] == "10"


def test_what_belongs_to_no_instance_has_its_own_line_at_the_end(books: LedgerBench) -> None:
    books.book(*round_trip(1, "100", "103"), *round_trip(3, "100", "99", instance_id="", epoch=0))

    assert [line.split()[0] for line in books.run("pnl").out.splitlines()[1:]] == [
        INSTANCE,
        "(none)",
        "total",
    ]


def test_fees_in_other_assets_are_listed_apart(books: LedgerBench) -> None:
    books.book(
        *round_trip(1, "100", "103", fee=Decimal("0.5"), fee_asset="BACK"),
        trade(3, Side.BUY, "100", fee=Decimal("0.01"), fee_asset="SOL"),
    )

    ran = books.run("pnl")

    assert "fees besides, not in the total: 1 BACK (backpack)" in ran.out
    (line,) = books.run("pnl", "--json").json["lines"]
    assert (line["fees"], line["unconverted_fees"]) == ("1", {"BACK": "1"})
    (row,) = books.rows("pnl")
    assert json.loads(row["unconverted_fees"]) == {"BACK": "1"}


def test_days_and_runs_are_lines_too(books: LedgerBench) -> None:
    started = {"account": ACCOUNT, "by": "me", "config_version": "v1"}
    books.book(
        event("started", T0 - 10, fields=started),
        *round_trip(1, "100", "103"),
        event("started", T0 + DAY_MS - 10, epoch=2, fields=started),
        *round_trip(DAY_MS, "100", "99", epoch=2),
    )

    days = books.rows("pnl", "--by", "day")
    runs = books.rows("pnl", "--by", "run")

    assert [(row["day"], row["realized"]) for row in days] == [("2026-01-02", "3"), ("2026-01-03", "-1")]
    assert [(row["epoch"], row["started_at"], row["realized"]) for row in runs] == [
        ("1", "2026-01-01T23:59:59.990Z", "3"),
        ("2", "2026-01-02T23:59:59.990Z", "-1"),
    ]
    assert books.run("pnl", "--by", "run").out.splitlines()[2].split()[1] == "2"
    assert books.run("pnl", "--by", "day").out.splitlines()[0].split()[0] == "DAY"


def test_a_day_of_several_instances_is_one_line(books: LedgerBench) -> None:
    books.book(
        *round_trip(1, "100", "103"),
        *round_trip(3, "100", "105", instance_id="mm_02", symbol=PERP, market_type="perp"),
    )

    (day,) = books.rows("pnl", "--by", "day")

    assert (day["realized"], day["symbols"]) == ("8", f"{SYMBOL} {PERP}")
    assert (day["account"], day["instance_id"], day["venue"]) == ("", "", "backpack")


@pytest.mark.parametrize("grouping", ["instance", "day", "run"])
def test_since_counts_whole_days(books: LedgerBench, grouping: str) -> None:
    books.book(*round_trip(1, "100", "103"), *round_trip(DAY_MS, "100", "99", epoch=2))

    (row,) = books.rows("pnl", "--by", grouping, "--since", "2026-01-03T00:00")

    assert (row["realized"], row["fills"]) == ("-1", "2")


def test_wear_is_loss_per_volume(books: LedgerBench) -> None:
    books.book(*round_trip(1, "100", "99", fee=Decimal(0)))

    (row,) = books.rows("pnl")

    assert row["wear_bps"] == "50.251256"


def test_an_empty_ledger_has_no_profit(books: LedgerBench) -> None:
    assert books.run("pnl").err == "no fills yet\n"
    assert books.run("pnl", "--json").json["lines"] == []
    assert len(books.run("pnl", "--csv").out.splitlines()) == 1
