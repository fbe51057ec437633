"""A short run of what `make soak` does at length: every strategy, failing requests, killed workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.fleet import every_strategy
from tests.soak.run import run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_books_and_journal_agree_whatever_fails_and_whoever_dies(tmp_path: Path) -> None:
    run(tmp_path, every_strategy(), events=1200, kills=2, seed=11)
