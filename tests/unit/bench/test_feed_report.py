from __future__ import annotations

import json

import pytest

from bench.feed_report import Span, delays, report
from bench.process_usage import Use


def use(cpu_s: float, pss_mb: float) -> Use:
    return Use(cpu_s=cpu_s, pss_mb=pss_mb, uss_mb=pss_mb, processes=1)


def span(*book_delays_ms: int, messages: int = 500) -> Span:
    return Span(
        depth_per_s=10,
        seconds=2.0,
        messages=messages,
        feed=use(0.5, 80),
        venue=use(0.1, 40),
        server=use(0.1, 10),
        book_delays_ms=book_delays_ms,
        missing=0,
        fill_delays_ms=(1, 2, 3),
        queue=(0, 7, 3),
    )


def test_a_change_arrives_with_the_first_book_that_is_not_older() -> None:
    kept = [(130, 131), (100, 104), (100, 104)]
    assert delays([90, 100, 101, 130], kept) == ([14, 4, 30, 1], 0)


def test_a_change_that_no_book_has_is_missing() -> None:
    assert delays([100, 140, 150], [(130, 131)]) == ([31], 2)
    assert delays([100], []) == ([], 1)


@pytest.mark.parametrize(
    ("delays_ms", "expected"), [((5,) * 99 + (900,), True), ((5,) * 98 + (251,) * 2, False), ((), False)]
)
def test_a_feed_is_on_time_when_99_of_100_changes_are(delays_ms: tuple[int, ...], expected: bool) -> None:
    assert span(*delays_ms).is_on_time is expected


def test_the_last_line_tells_of_the_load_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    report([span(3, 4, 5), span(300, messages=5000)], instances=200, symbols=20, loads=[0.5])
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])
    assert (figures["messages_per_s"], figures["feed_cpu_percent"], figures["queue_max"]) == (250, 25, 7)
    assert figures["most_messages_per_s_on_time"] == 250
    assert figures["on_time_up_to_the_last_rate"] is False
    assert len({line.count("|") for line in lines[:-1]}) == 1
