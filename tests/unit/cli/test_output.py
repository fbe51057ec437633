"""What commands print cannot be forged by what others wrote."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.output import Cell, Output
from cli.progress_display import LiveDisplay
from cli.top_reading import TopReading, TopRow
from cli.top_view import View, screen
from runner.stop_progress import PhaseSeen, StopProgress

FORGED = "\x1b[2J\x1b]0;x\x07stopped\r clean\x9b1A\u202e"


def test_what_steers_a_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.line(FORGED)
    output.say(FORGED, "bad")
    output.table(("name",), [(FORGED,), (Cell(text=FORGED, style="good"),)])
    shown = "".join(capsys.readouterr())
    assert shown.count("stopped") == 4
    assert all(each.isprintable() or each == "\n" for each in shown)


def test_nor_by_the_live_table_of_a_stop_nor_by_top() -> None:
    console = Console(width=120, force_terminal=False, file=io.StringIO())
    stop = StopProgress(instance_id=f"a{FORGED}", epoch=1, requested_at_ms=0)
    stop.phases.append(PhaseSeen(phase=FORGED, at_ms=1, after_ms=1, detail=FORGED))
    display = LiveDisplay(console, [stop])
    row = TopRow(instance_id=FORGED, state=FORGED, symbol=FORGED, strategy=FORGED, last_error=FORGED)
    reading = TopReading(now_ms=1_700_000_000_000, rows=(row,))
    with console.capture() as capture:
        display.say(FORGED)
        console.print(display.table())
        console.print(screen(reading, View(), height=10))
        console.print(screen(reading, View(), height=10, problem=FORGED))
    shown = capture.get()
    assert shown.count("\N{REPLACEMENT CHARACTER}") > 40
    assert all(each.isprintable() or each == "\n" for each in shown)


def test_colours_are_still_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Output, "colours", lambda self, stream: True)
    Output().table(("name",), [(Cell(text="a", style="good"),)])
    Output().line("b", "bad")
    assert capsys.readouterr().out.endswith("\x1b[32ma   \x1b[0m\n\x1b[31mb\x1b[0m\n")
