from __future__ import annotations

import pytest

from bench.figures import nearest_rank, table


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 5), (10, 9), (20, 18)])
def test_the_90th_percentile_is_a_value_that_nine_tenths_do_not_exceed(count: int, expected: int) -> None:
    assert nearest_rank(list(range(count, 0, -1)), 0.9) == expected


def test_every_line_of_a_table_is_equally_wide() -> None:
    lines = table({"short": [2.0, 2.0], "a longer name": [1234.5]}).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[2].split("|")[2:6] == ["   2 ", "      2 ", "      2 ", "      2 "]


def test_a_table_shows_the_99th_percentile_and_digits_where_asked_for() -> None:
    lines = table({"one": [float(value) for value in range(1, 101)]}, with_p99=True, digits=1).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert [part.strip() for part in lines[2].split("|")[3:7]] == ["50.5", "90.0", "99.0", "100.0"]
