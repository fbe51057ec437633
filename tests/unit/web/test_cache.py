from __future__ import annotations

import threading

import pytest

from web import cache
from web.cache import Cache


def test_an_answer_is_kept_for_a_while_and_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("web.cache.time.monotonic", lambda: now_s[0])
    kept: Cache[int] = Cache()
    asked: list[str] = []

    def work(name: str) -> int:
        asked.append(name)
        return len(asked)

    assert kept.get("a", lambda: work("a")) == 1
    assert kept.get("a", lambda: work("a")) == 1
    assert kept.get("b", lambda: work("b")) == 2
    now_s[0] += cache.LEAST_AGE_S
    assert kept.get("a", lambda: work("a")) == 3


def test_what_takes_long_is_good_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("web.cache.time.monotonic", lambda: now_s[0])
    kept: Cache[float] = Cache()

    def slow() -> float:
        now_s[0] += 10
        return now_s[0]

    first = kept.get("a", slow)
    now_s[0] += 10 * cache.AGE_PER_EFFORT - 1
    assert kept.get("a", slow) == first
    now_s[0] += 1
    assert kept.get("a", slow) > first


def test_who_asks_meanwhile_waits_for_the_one_at_work_and_works_not_himself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody comes so late that the answer has become too old.
    monkeypatch.setattr("web.cache.time.monotonic", lambda: 100.0)
    kept: Cache[int] = Cache()
    begun, go_on = threading.Event(), threading.Event()
    count: list[int] = []

    def work() -> int:
        count.append(1)
        begun.set()
        assert go_on.wait(10)
        return len(count)

    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(kept.get("a", work))) for _ in range(5)]
    for asker in askers:
        asker.start()
    assert begun.wait(10)
    go_on.set()
    for asker in askers:
        asker.join(10)
    assert found == [1] * 5


def test_a_failure_is_not_kept() -> None:
    kept: Cache[int] = Cache()

    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):
        kept.get("a", fail)
    assert kept.get("a", lambda: 7) == 7
