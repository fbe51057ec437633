"""What the smoke bench makes of the figures of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import smoke
from bench.smoke import FIGURES, Figure, measure

FIRST = Figure(name="first", bench="one", read=lambda found: found["a"], limit=2)
SECOND = Figure(name="second", bench="one", read=lambda found: found["b"], limit=2)
OTHER = Figure(name="other", bench="two", read=lambda found: found["a"], limit=2)


class Runs:
    """Benches that print what a test says, one reading after the other."""

    def __init__(self, **readings: Sequence[dict[str, float]]) -> None:
        self.readings = {name: list(each) for name, each in readings.items()}
        self.ran: list[str] = []

    def __call__(self, name: str) -> dict[str, float]:
        self.ran.append(name)
        return self.readings[name].pop(0)


def test_each_bench_runs_once_where_all_is_within_limits() -> None:
    runs = Runs(one=[{"a": 1, "b": 2}], two=[{"a": 0.5}])
    assert measure((FIRST, OTHER, SECOND), runs) == {"first": 1, "second": 2, "other": 0.5}
    assert runs.ran == ["one", "two"]


def test_what_is_over_its_limit_is_measured_again_and_the_least_counts() -> None:
    runs = Runs(one=[{"a": 1, "b": 5}, {"a": 3, "b": 1.5}], two=[{"a": 2.3}, {"a": 2.1}, {"a": 2.2}])
    assert measure((FIRST, SECOND, OTHER), runs) == {"first": 1, "second": 1.5, "other": 2.1}
    assert runs.ran == ["one", "one", "two", "two", "two"]


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (1e9, 1)])
def test_it_fails_for_a_figure_over_its_limit_and_keeps_what_is_asked_for(
    value: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = tmp_path / "history.jsonl"
    monkeypatch.setattr(smoke, "HISTORY", history)
    monkeypatch.setattr(smoke, "measure", lambda figures, run: {each.name: value for each in figures})
    monkeypatch.setattr("sys.argv", ["smoke.py"])
    assert smoke.main() == code
    assert not history.exists()
    monkeypatch.setattr("sys.argv", ["smoke.py", "--keep"])
    assert smoke.main() == code
    (line,) = history.read_text().splitlines()
    assert json.loads(line) == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(json.loads(line)["over"]) == (len(FIGURES) if code else 0)


def test_every_figure_is_of_a_bench_that_there_is_and_named_once() -> None:
    assert all((smoke.ROOT / "bench" / f"{each.bench}.py").exists() for each in FIGURES)
    assert len({each.name for each in FIGURES}) == len(FIGURES)
