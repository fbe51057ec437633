"""`top`: what it reads, how it is sorted, filtered and moved through; one table without a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console

from cli.keyboard import keys_in
from cli.session import open_session
from cli.stack.stack import ROOT
from cli.top_reading import TopReader, TopReading, TopRow, sorted_rows
from cli.top_view import View, screen
from state import keys
from tests.unit.cli.command_line import Bench

ROW = TopRow(instance_id="bp_sol_01", state="running", symbol="SOL_USDC", strategy="standard")


def put(bench: Bench, name: str, **fields: str) -> None:
    for field, text in fields.items():
        bench.client.hset(keys.record(name), field, text)


def made(amount: str, day: str | None = None) -> str:
    today = datetime.now(UTC).date().isoformat()
    return json.dumps({"day": day or today, "carried": "1", "base": "0", "total": amount})


def shown(reading: TopReading, view: View, height: int = 10) -> list[str]:
    console = Console(width=160, height=height, force_terminal=False, file=io.StringIO())
    with console.capture() as capture:
        console.print(screen(reading, view, height=height))
    return capture.get().splitlines()


def reading(*rows: TopRow) -> TopReading:
    return TopReading(now_ms=1_700_000_000_000, rows=rows)


def test_a_row_has_what_books_day_and_record_say(bench: Bench) -> None:
    bench.start("a_01")
    bench.client.set(
        keys.config("a_01"), json.dumps({"metadata": {"strategy": "grid", "symbol": "SOL_USDC"}})
    )
    put(
        bench,
        "a_01",
        books=json.dumps({"profit": {"net": "-1.50"}}),
        daily=made("0.25"),
        order_ids="1,2,3",
        errors="2",
        last_error="Unavailable: no",
    )
    bench.configure("b_01")
    ran = bench.run("top", "--json")
    assert ran.code == 0
    first, second = ran.json["instances"]
    assert first["profit_today"] == "1.25"
    assert first["profit_asset"] == "USDC"
    assert (first["position"], first["open_orders"]) == ("-1.50", 3)
    assert (first["errors_in_a_row"], first["last_error"]) == (2, "Unavailable: no")
    assert (second["instance_id"], second["state"]) == ("b_01", "never_started")
    assert ran.json["states"] == {"running": 1, "never_started": 1}
    assert ran.json["profit_today"] == {"USDC": "1.25"}


def test_another_days_profit_is_not_todays_and_damage_is_shown(bench: Bench) -> None:
    bench.start("a_01")
    put(bench, "a_01", daily=made("5", "2020-01-01"), books="{")
    bench.start("b_01")
    put(bench, "b_01", phase="dancing")
    rows = {row["instance_id"]: row for row in bench.run("top", "--json").json["instances"]}
    assert (rows["a_01"]["profit_today"], rows["a_01"]["position"]) == ("0", None)
    assert rows["b_01"]["state"] == "damaged"
    assert "dancing" in rows["b_01"]["last_error"]


def test_only_what_has_changed_is_read_again(bench: Bench) -> None:
    bench.start("a_01")
    put(bench, "a_01", books=json.dumps({"profit": {"net": "1"}}), seq="1")
    reader = TopReader(session=open_session())
    assert reader.read().rows[0].position == 1
    put(bench, "a_01", books=json.dumps({"profit": {"net": "2"}}))
    assert reader.read().rows[0].position == 1
    put(bench, "a_01", seq="2")
    assert reader.read().rows[0].position == 2


def test_without_a_terminal_it_prints_one_table(bench: Bench) -> None:
    bench.start("a_01")
    ran = bench.run("top")
    assert ran.code == 0
    title, row, totals = ran.out.splitlines()
    assert title.split()[:3] == ["INSTANCE", "STATE", "STRATEGY"]
    assert row.startswith("a_01")
    assert totals == "1 instances: 1 running   today: -"
    assert "no worker serves queue iterate and cleanup" in ran.err


def test_trouble_comes_first_and_the_order_can_be_another() -> None:
    rows = (
        replace(ROW, instance_id="b", profit_today=Decimal(2)),
        replace(ROW, instance_id="a", profit_today=Decimal(-1), due_in_ms=-5000),
        replace(ROW, instance_id="c", state="failed"),
        replace(ROW, instance_id="d", state="stopped", open_orders=3),
    )

    def names(by: str) -> str:
        return "".join(row.instance_id for row in sorted_rows(rows, by))

    assert names("trouble") == "cabd"
    assert names("name") == "abcd"
    assert names("profit") == "bacd"
    assert names("loss") == "abcd"
    assert names("orders") == "dabc"
    assert names("late") == "abcd"


def test_typing_filters_and_escape_ends_that() -> None:
    rows = tuple(replace(ROW, instance_id=f"{name}_01") for name in ("sol", "btc"))
    view = View()
    for key in keys_in("/btq\x7fc\r"):
        view = view.pressed(key, page=5)
    assert (view.search, view.is_typing) == ("btc", False)
    assert [row.instance_id for row in view.chosen(rows)] == ["btc_01"]
    assert view.pressed("escape", page=5).search == ""


def test_keys_that_arrive_together_are_told_apart() -> None:
    assert keys_in("s\x1b[B\x1b[6~q\x1b") == ["s", "down", "page down", "q", "escape"]


def test_the_screen_shows_as_many_as_fit_and_moves_to_the_end_and_no_further() -> None:
    found = reading(*(replace(ROW, instance_id=f"i{number:03d}") for number in range(500)))
    view = View(order="name")
    lines = shown(found, view)
    assert "500 instances: 500 running" in lines[0]
    assert [line.split()[0] for line in lines[3:9]] == [f"i00{number}" for number in range(6)]
    assert lines[9] == "0 above, 494 below"
    for _ in range(200):
        view = view.pressed("page down", page=6).within(found, 10)
    assert shown(found, view)[8].split()[0] == "i499"
    assert view.pressed("down", page=6).within(found, 10) == view
    assert view.pressed("home", page=6).offset == 0


def test_markup_in_an_error_is_text() -> None:
    lines = shown(reading(replace(ROW, last_error="[red]no[/red] [/]")), View())
    assert lines[3].rstrip().endswith("[red]no[/red] [/]")


def test_on_a_terminal_it_fills_the_screen_until_q(bench: Bench) -> None:
    bench.start("a_01")
    parent, child = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "top", "--interval", "0.2"],
        cwd=ROOT,
        env=environ,
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    written = ""
    try:
        deadline_s = time.monotonic() + 60
        while "a_01" not in written:
            assert time.monotonic() < deadline_s, written
            if select.select([parent], [], [], 0.5)[0]:
                written += os.read(parent, 65536).decode()
        os.write(parent, b"q")
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(parent)
    assert re.search(r"\x1b\[\?1049h", written), "the alternate screen"
