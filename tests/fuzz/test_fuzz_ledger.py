"""Whatever waits for the ledger, or stands in an old program's file: booked, put aside or refused."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from feed.bookkeeper import catch_up
from ledger import queries
from ledger.bookings import (
    EventBooking,
    FillBooking,
    FundingBooking,
    OrderBooking,
    PositionSnapshot,
    SnapshotBooking,
)
from ledger.database import Ledger, open_ledger
from ledger.errors import ImportFailed
from ledger.importing import import_old
from market.orders import OrderStatus, Side
from state import keys
from state.bookings import BookingQueue
from state.events import Events
from tests.factories import ACCOUNT, INSTANCE_ID, fill, instrument
from tests.fuzz.fuzzing import SLOW, fuzz, spoiled

FILL = FillBooking.of(
    fill(),
    instrument(),
    account=ACCOUNT,
    instance_id=INSTANCE_ID,
    epoch=1,
    level_role=(0, 0),
    source="stream",
)
BOOKINGS: dict[str, dict[str, Any]] = {
    booking.kind: json.loads(booking.model_dump_json())
    for booking in (
        FILL,
        OrderBooking(
            account=ACCOUNT,
            instance_id=INSTANCE_ID,
            epoch=1,
            symbol="SOL_USDC",
            order_id="1",
            client_order_id=7,
            level=0,
            role=0,
            side=Side.BUY,
            price=FILL.price,
            quantity=FILL.quantity,
            executed=FILL.quantity,
            status=OrderStatus.FILLED,
            at_ms=1_000_000,
        ),
        FundingBooking(
            account=ACCOUNT, symbol="SOL_USDC_PERP", amount=FILL.fee, rate=FILL.fee, interval_end_ms=1_000_000
        ),
        SnapshotBooking(
            account=ACCOUNT,
            at_ms=1_000_000,
            balances={},
            positions={
                "SOL_USDC_PERP": PositionSnapshot(
                    net_quantity=FILL.quantity, entry_price=FILL.price, mark_price=FILL.price
                )
            },
        ),
        EventBooking(
            account=ACCOUNT,
            instance_id=INSTANCE_ID,
            epoch=1,
            stream_id="1-1",
            event="started",
            at_ms=1,
            fields={},
        ),
    )
}
EVENT: dict[Any, Any] = {
    "event": "cleanup_step",
    "instance": INSTANCE_ID,
    "epoch": "1",
    "at_ms": "1",
    "step": "x",
    "detail": "",
}
numbers = itertools.count(1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        yield ledger


@pytest.mark.services
@pytest.mark.parametrize("kind", BOOKINGS)
@fuzz(25, divisor=SLOW)
@given(data=st.data())
def test_a_booking_that_cannot_be_read_holds_up_no_other(
    kind: str, data: st.DataObject, redis_client: redis.Redis, ledger: Ledger
) -> None:
    queue, trade_id = BookingQueue(redis_client), f"good-{next(numbers)}"
    redis_client.xadd(keys.BOOKINGS, {"booking": data.draw(spoiled(BOOKINGS[kind]))})
    queue.add([FILL.model_copy(update={"trade_id": trade_id}).model_dump_json()])
    catch_up(queue, Events(redis_client), ledger)
    assert queue.length() == 0
    assert trade_id in {each.trade_id for each in queries.fills(ledger, INSTANCE_ID, limit=10_000)}


@pytest.mark.services
@fuzz(40, divisor=SLOW)
@given(
    event=st.dictionaries(
        st.sampled_from((*EVENT, "x")), st.one_of(st.integers(), st.text(), st.binary(max_size=4)), min_size=1
    )
)
def test_an_event_that_cannot_be_read_holds_up_no_other(
    event: dict[str, Any], redis_client: redis.Redis, ledger: Ledger
) -> None:
    redis_client.flushall()
    entry: dict[Any, Any] = {
        key: value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        for key, value in (EVENT | event).items()
        if value != "drop"
    }
    redis_client.xadd(keys.EVENTS, entry)
    good = f"good-{next(numbers)}"
    redis_client.xadd(keys.EVENTS, EVENT | {"instance": good})
    catch_up(BookingQueue(redis_client), Events(redis_client), ledger)
    assert len(queries.events(ledger, good)) == 1


FILL_ROW: dict[str, Any] = {
    "order_id": "1",
    "symbol": "SOL_USDC",
    "side": "Bid",
    "quantity": 0.1,
    "price": 131.07,
    "maker": 1,
    "fee": 0.0001,
    "fee_asset": "SOL",
    "trade_type": "market_making",
    "timestamp": "2025-11-30 12:00:00",
}
#: What SQLite may hold in any column, whatever type it declares.
cells: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        (None, "", "0", "-1", "nan", "inf", "1e400", "1e-400", "1e99999999999999999999", "x" * 5000)
    ),
    st.sampled_from((0, -1, 2**63 - 1, -(2**63), 1e300, -1e300, 1e-300, float("inf"), b"", b"\xff", "\x00")),
    st.sampled_from(
        ("9999-12-31 23:59:59", "0001-01-01", "2025-11-30T12:00:00+14:00", "24:00", "2025-02-30")
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
)


def make_file(path: Path, rows: list[dict[str, Any]], stats: list[tuple[Any, ...]] = ()) -> None:  # type: ignore[assignment]
    """Write a file of the old program with columns that take anything."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE completed_orders ({', '.join(FILL_ROW)})")
        connection.execute("CREATE TABLE trading_stats (date, symbol, net_profit)")
        for row in rows:
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO completed_orders VALUES ({places})", tuple(row.values()))
        connection.executemany("INSERT INTO trading_stats VALUES (?, ?, ?)", stats)
        connection.commit()


def counted(ledger: Ledger) -> int:
    return len(queries.fills(ledger, INSTANCE_ID, limit=10_000))


@fuzz(60, divisor=SLOW)
@given(
    changes=st.lists(
        st.dictionaries(st.sampled_from([*FILL_ROW]), cells, max_size=2), min_size=1, max_size=3
    ),
    stats=st.lists(st.tuples(cells, cells, cells), max_size=2),
)
def test_an_old_file_with_anything_in_it_is_imported_or_refused_as_a_whole(
    changes: list[dict[str, Any]], stats: list[tuple[Any, ...]], tmp_path: Path, ledger: Ledger
) -> None:
    path, before = tmp_path / "old.db", counted(ledger)
    make_file(path, [FILL_ROW, *(FILL_ROW | change for change in changes)], stats)
    try:
        import_old(ledger, path, account=ACCOUNT, instance_id=INSTANCE_ID)
    except ImportFailed as error:
        assert str(path) in str(error)
        assert len(str(error)) < 1000
        assert counted(ledger) == before


@fuzz(60, divisor=SLOW)
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1),
)
def test_an_old_file_that_is_damaged_is_imported_or_refused(
    places: list[tuple[float, int]], cut: float, tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "old.db"
    make_file(path, [FILL_ROW] * 3)
    content = bytearray(path.read_bytes())
    for place, byte in places:
        content[int(place * len(content))] = byte
    path.write_bytes(bytes(content[: int(cut * 2 * len(content))]))
    try:
        import_old(ledger, path, account=ACCOUNT, instance_id=INSTANCE_ID)
    except ImportFailed as error:
        assert str(path) in str(error)


def event(stream_id: str, epoch: int, outcome: str) -> str:
    fields = {"result": "stopped", "outcome": outcome}
    return EventBooking(
        account=ACCOUNT,
        instance_id=INSTANCE_ID,
        epoch=epoch,
        stream_id=stream_id,
        event="finished",
        at_ms=1,
        fields=fields,
    ).model_dump_json()


@pytest.mark.services
@pytest.mark.parametrize(
    "texts",
    [
        # Another run's event at a place that is taken: no run came of it, and an insert of nothing followed.
        [event("1-1", 1, ""), event("1-1", 2, "")],
        # RecursionError, which is no ValueError.
        [event("1-1", 1, "[" * 5_000)],
    ],
)
def test_events_that_once_held_up_those_behind(
    texts: list[str], redis_client: redis.Redis, ledger: Ledger
) -> None:
    queue = BookingQueue(redis_client)
    queue.add([*texts, event("2-1", 3, "")])
    catch_up(queue, Events(redis_client), ledger)
    assert queue.length() == 0
    assert 3 in {run.epoch for run in queries.runs(ledger, INSTANCE_ID)}


@pytest.mark.parametrize("fee_asset", [1.0, b"SOL", 7])
def test_a_fee_asset_that_is_no_text_is_named(fee_asset: object, tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "old.db"
    make_file(path, [FILL_ROW | {"fee_asset": fee_asset}])
    with pytest.raises(ImportFailed, match=r"row 1: fee_asset is .* no text"):
        import_old(ledger, path, account=ACCOUNT, instance_id=INSTANCE_ID)
