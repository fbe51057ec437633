"""What commands print cannot be forged by what others wrote."""

from __future__ import annotations

import pytest

from cli.output import Cell, Output

FORGED = "\x1b[2J\x1b]0;x\x07stopped\r clean\x9b1A\u202e"


def test_what_steers_a_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.line(FORGED)
    output.say(FORGED, "bad")
    output.table(("name",), [(FORGED,), (Cell(text=FORGED, style="good"),)])
    shown = "".join(capsys.readouterr())
    assert shown.count("stopped") == 4
    assert all(each.isprintable() or each == "\n" for each in shown)


def test_colours_are_still_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Output, "colours", lambda self, stream: True)
    Output().table(("name",), [(Cell(text="a", style="good"),)])
    Output().line("b", "bad")
    assert capsys.readouterr().out.endswith("\x1b[32ma   \x1b[0m\n\x1b[31mb\x1b[0m\n")
