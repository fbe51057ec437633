"""A market maker's file that is in order, and a way to change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.config import ConfigError, LoadedConfig, load_instance

INSTANCE_ID = "mm_01"


@pytest.fixture
def content() -> dict[str, Any]:
    """The content of a file that is in order; change it and hand it to `load`."""
    return {
        "metadata": {
            "instance_id": INSTANCE_ID,
            "exchange": "backpack",
            "symbol": "SOL_USDC",
            "market_type": "spot",
            "strategy": "standard",
        },
        "live": False,
        "exchange_config": {"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"},
        "strategy_config": {"spread": 0.2},
    }


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedConfig]:
    """Write a file and load it."""

    def write_and_load(
        content: Mapping[str, Any] | str,
        environ: Mapping[str, str] | None = None,
        instance_id: str = INSTANCE_ID,
    ) -> LoadedConfig:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / f"{INSTANCE_ID}.json").write_text(text, encoding="utf-8")
        return load_instance(INSTANCE_ID, tmp_path, environ or {})

    return write_and_load


@pytest.fixture
def problems(load: Callable[..., LoadedConfig]) -> Callable[..., dict[str, str]]:
    """Load a file that is wrong, and return its problems by path."""

    def of(*args: Any, **kwargs: Any) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            load(*args, **kwargs)
        found = {problem.path: problem.message for problem in caught.value.problems}
        assert len(found) == len(caught.value.problems), "one place is told twice"
        return found

    return of
