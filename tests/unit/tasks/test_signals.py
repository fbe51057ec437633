"""What a worker does before and after it forks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import cast

import pytest
from celery.signals import worker_before_create_process, worker_process_init

from tasks import signals
from tasks.sweep import Sweeper


@pytest.fixture(autouse=True)
def nothing_frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the collector, and whether a worker runs here, as they were."""
    monkeypatch.setattr(signals, "_sweepers", [])
    monkeypatch.setattr(signals, "keep", lambda _: None)
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_before_the_first_fork_is_left_to_itself() -> None:
    worker_before_create_process.send(sender=None)

    assert gc.get_freeze_count() > 0


def test_what_is_pending_when_a_child_is_replaced_can_still_be_collected() -> None:
    signals._sweepers.append(cast("Sweeper", object()))
    worker_before_create_process.send(sender=None)

    assert gc.get_freeze_count() == 0


def test_a_child_leaves_what_it_was_forked_with_to_itself() -> None:
    worker_process_init.send(sender=None)

    assert gc.get_freeze_count() > 0
