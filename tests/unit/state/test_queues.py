"""Which queues there are, and whom each serves."""

from __future__ import annotations

from collections import Counter

import pytest

from state.queues import (
    MOST_QUEUES,
    all_queues,
    is_task_queue,
    iterate_queue,
    iterate_queues,
    needed_queues,
    serves,
)
from state.record import Phase

ACCOUNTS = [f"backpack:{number:010x}" for number in range(2000)]


def test_one_queue_of_iterations_is_called_as_ever() -> None:
    assert all_queues(1) == ("iterate", "cleanup")
    assert iterate_queue("any", 1) == "iterate"


def test_the_names_of_several_tell_how_many_there_are() -> None:
    assert all_queues(3) == ("iterate.1of3", "iterate.2of3", "iterate.3of3", "cleanup")


def test_an_account_keeps_its_queue_from_process_to_process() -> None:
    assert iterate_queue("backpack:153053ad13", 8) == "iterate.8of8"
    assert iterate_queue("backpack-simulated:22a94de7fa", 8) == "iterate.4of8"


@pytest.mark.parametrize("count", [2, 4, 16])
def test_accounts_are_spread_over_all_queues(count: int) -> None:
    found = Counter(iterate_queue(account, count) for account in ACCOUNTS)
    assert set(found) == set(iterate_queues(count))
    assert max(found.values()) < 1.5 * min(found.values())


@pytest.mark.parametrize("count", [1, 2, 16, MOST_QUEUES])
def test_an_instance_is_served_by_the_queue_its_messages_go_to_and_no_other(count: int) -> None:
    (served,) = [queue for queue in all_queues(count) if serves(queue, Phase.RUNNING, "backpack:x")]
    assert served == iterate_queue("backpack:x", count)


def test_a_stop_is_served_by_the_queue_of_cleanups_and_what_is_stopped_by_none() -> None:
    for phase in (Phase.STOPPING, Phase.FAILED):
        assert [queue for queue in all_queues(4) if serves(queue, phase, "x")] == ["cleanup"]
    assert not [queue for queue in all_queues(4) if serves(queue, Phase.STOPPED, "x")]


@pytest.mark.parametrize(
    "queue",
    [
        "iterate.1of0",
        "iterate.0of1",
        "iterate.1of999",
        "iterate.1of99999999999",
        "iterate.xof2",
        "celery",
        "",
    ],
)
def test_what_is_no_queue_of_ours_serves_nobody(queue: str) -> None:
    assert not any(serves(queue, phase, account) for phase in Phase for account in ACCOUNTS)
    assert needed_queues({queue}) == ("iterate", "cleanup")


@pytest.mark.parametrize(
    ("served", "needed"),
    [
        (set(), {"iterate", "cleanup"}),
        ({"cleanup"}, {"iterate", "cleanup"}),
        ({"iterate.2of2"}, {"iterate.1of2", "iterate.2of2", "cleanup"}),
        # What is no queue of iterations tells nothing of their number.
        ({"cleanup", "iterate.1of3"}, set(all_queues(3))),
        ({"iterate.1of999", "iterate.1of3"}, set(all_queues(3))),
        # While the number changes, whichever division is served best.
        ({"iterate", "iterate.1of2"}, {"iterate", "cleanup"}),
        ({"iterate.1of2", "iterate.1of3", "iterate.2of3", "iterate.3of3"}, set(all_queues(3))),
    ],
)
def test_those_that_are_served_tell_which_must_be(served: set[str], needed: set[str]) -> None:
    assert set(needed_queues(served)) == needed


@pytest.mark.parametrize("name", [b"iterate", b"cleanup", b"iterate.1of4", b"iterate.7of9"])
def test_tasks_are_looked_for_in_every_division(name: bytes) -> None:
    assert is_task_queue(name)


@pytest.mark.parametrize("name", [b"celeryev.1", b"worker@host.celery.pidbox", b"iterated", b""])
def test_other_lists_hold_no_tasks(name: bytes) -> None:
    assert not is_task_queue(name)
