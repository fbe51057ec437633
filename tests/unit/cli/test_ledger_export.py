"""`manage.py export`: files that are complete, exact and not overwritten."""

from __future__ import annotations

import csv
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli import export as command
from cli.output import Output
from ledger.database import Ledger
from tests.unit.cli.ledger_bench import NO_REDIS, LedgerBench
from tests.unit.ledger.story import DAY_MS, INSTANCE, T0, fill, order, snapshot


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_fills_are_written_exactly_with_what_waited(books: LedgerBench, tmp_path: Path) -> None:
    out = tmp_path / "fills.csv"
    books.book(fill("1", price=Decimal("100.123456789012345678")))
    books.tell(fill("2", filled_at_ms=T0 + 1))

    ran = books.run("export", "fills", "--out", str(out))

    assert (ran.code, ran.out, ran.err) == (0, f"2 fills written to {out}\n", "")
    assert [(row["price"], row["filled_at"]) for row in rows_of(out)] == [
        ("100.123456789012345678", "2026-01-02T00:00:00.000Z"),
        ("100", "2026-01-02T00:00:00.001Z"),
    ]


def test_instance_and_times_narrow_it_down(books: LedgerBench, tmp_path: Path) -> None:
    out = tmp_path / "fills.csv"
    books.book(
        fill("1"),
        fill("2", filled_at_ms=T0 + DAY_MS),
        fill("3", filled_at_ms=T0 + 2 * DAY_MS),
        fill("4", filled_at_ms=T0 + DAY_MS, instance_id="mm_02", order_id="4"),
    )

    ran = books.run(
        *("export", "fills", "--out", str(out), "--instance", INSTANCE, "--json"),
        *("--since", "2026-01-03", "--until", "2026-01-04"),
    )

    assert ran.json == {
        "exit_code": 0,
        "up_to_date": True,
        "kind": "fills",
        "file": str(out),
        "format": "csv",
        "rows": 1,
    }
    assert [row["trade_id"] for row in rows_of(out)] == ["2"]


@pytest.mark.parametrize("kind", ["orders", "runs", "funding", "events", "balances", "positions"])
def test_there_is_every_kind(books: LedgerBench, tmp_path: Path, kind: str) -> None:
    books.book(order("1"), snapshot())

    assert books.run("export", kind, "--out", str(tmp_path / "out.csv")).code == 0


def test_a_file_is_replaced_only_by_force(books: LedgerBench, tmp_path: Path) -> None:
    out = tmp_path / "fills.csv"
    out.write_text("precious")
    books.book(fill("1"))

    refused = books.run("export", "fills", "--out", str(out))

    assert refused.code == 2
    assert f"{out} is there already; --force replaces it" in refused.err
    assert out.read_text() == "precious"
    assert books.run("export", "fills", "--out", str(out), "--force").code == 0
    assert len(rows_of(out)) == 1


def test_snapshots_have_no_instance(books: LedgerBench, tmp_path: Path) -> None:
    ran = books.run("export", "balances", "--out", str(tmp_path / "b.csv"), "--instance", INSTANCE)

    assert ran.code == 2
    assert "balances belong to an account" in ran.err


def test_an_unknown_instance_writes_nothing(books: LedgerBench, tmp_path: Path) -> None:
    out = tmp_path / "fills.csv"

    assert books.run("export", "fills", "--out", str(out), "--instance", "nobody").code == 2
    assert not out.exists()


def test_a_folder_that_is_not_there_is_said(books: LedgerBench, tmp_path: Path) -> None:
    ran = books.run("export", "fills", "--out", str(tmp_path / "no" / "fills.csv"))

    assert ran.code == 1
    assert "cannot be written: No such file or directory" in ran.err


def test_the_end_of_the_name_chooses_the_format(
    books: LedgerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats: list[str] = []

    def write(ledger: Ledger, what: object, path: Path, file_format: str, *more: Any) -> int:
        formats.append(str(file_format))
        return 0

    monkeypatch.setattr(command, "write_file", write)
    out = str(tmp_path / "fills.parquet")

    books.run("export", "fills", "--out", out)
    books.run("export", "fills", "--out", out, "--format", "csv")

    assert formats == ["parquet", "csv"]


def test_a_long_export_says_how_far_it_is_on_standard_error(
    books: LedgerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "fills.csv"
    told = threading.Event()
    say = Output.say

    def hear(self: Output, text: str, style: str = "") -> None:
        say(self, text, style)
        if "2.5 MB" in text:
            told.set()

    def write(ledger: Ledger, what: object, path: Path, *more: Any) -> int:
        partial = path.with_name(f".{path.name}.abc")
        partial.write_bytes(b"x" * 2_500_000)
        assert told.wait(60)
        partial.unlink()
        return 5

    monkeypatch.setattr(command, "PROGRESS_AFTER_S", 0.01)
    monkeypatch.setattr(command, "PROGRESS_EVERY_S", 0.01)
    monkeypatch.setattr(Output, "say", hear)
    monkeypatch.setattr(command, "write_file", write)

    ran = books.run("export", "fills", "--out", str(out))

    assert "exporting fills: 2.5 MB so far\n" in ran.err
    assert ran.out == f"5 fills written to {out}\n"


def test_without_the_state_server_an_export_warns(
    books: LedgerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.book(fill("1"))
    monkeypatch.setenv("BROKER_URL", NO_REDIS)

    ran = books.run("export", "fills", "--out", str(tmp_path / "fills.csv"))

    assert ran.code == 0
    assert "warning: the state server does not answer" in ran.err
