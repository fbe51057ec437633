from __future__ import annotations

import json

import pytest

from bench.hedge_report import Round, is_within_bound, report, stages, usual_requests


def played(whole_ms: float, *, told_ms: float | None = 2.0, requests: tuple[str, ...] = ("a", "b")) -> Round:
    return Round(whole_ms=whole_ms, told_ms=told_ms, claimed_ms=5.0, read_ms=whole_ms - 3, requests=requests)


def test_the_stages_of_a_round_add_up_to_the_whole() -> None:
    rows = stages([played(30), played(20)])
    assert [sum(values) for values in zip(*rows.values(), strict=True)] == [30, 20]


def test_without_a_feed_nothing_is_said_of_telling() -> None:
    assert list(stages([played(900, told_ms=None)])) == [
        "claimed → last answer read",
        "last answer → hedge accepted",
    ]


@pytest.mark.parametrize(
    ("values_ms", "expected"),
    [([39.9] * 99 + [1000], True), ([39.9] * 98 + [150] * 2, False), ([40] * 100, False)],
)
def test_the_bound_is_on_the_median_and_on_99_of_100(values_ms: list[float], expected: bool) -> None:
    assert is_within_bound([played(value) for value in values_ms]) is expected


def test_the_usual_requests_are_those_of_most_rounds() -> None:
    assert usual_requests([played(1), played(1, requests=("c",)), played(1)]) == ("a", "b")


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    report(
        [played(20), played(30)],
        [played(900, told_ms=None)],
        [10.0, 10.0],
        interval_s=60,
        polled_interval_s=2,
        latency_ms=0,
        loads=[0.5],
    )
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["p50_ms"], figures["ratio_to_floor"], figures["requests"]) == (25, 2.5, 2)
    assert figures["within_bound"] is True
    assert figures["polled_within_interval"] is True
