"""What the guard reads out of a run's stored configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchanges.backpack.config import DEMO_CREDENTIALS
from exchanges.budget import RequestKind
from exchanges.errors import RateLimited
from guard.budget import AT_ONCE, PER_SECOND, OwnBudget
from guard.watched import CannotWatch, credentials, watched
from runner.config import load_instance
from runner.config_credentials import resolve_credentials
from tests.unit.guard.guard_bench import BEAT

DATA = Path(__file__).resolve().parents[2] / "data" / "configs"
KEYS = {"BACKPACK_KEY": "public", "BACKPACK_SECRET": "seed"}
SIMULATOR = "http://127.0.0.1:8900"


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.json")))
@pytest.mark.parametrize("live", [False, True])
def test_it_reads_a_stored_configuration_as_the_runner_does(name: str, live: bool) -> None:
    config = load_instance(name, DATA, KEYS).config.model_copy(update={"live": live})
    found = watched(BEAT, config.to_json(), SIMULATOR)
    assert (found.exchange, found.symbol) == (config.metadata.exchange, config.metadata.symbol)
    assert found.base_url == (config.exchange_config.base_url if live else SIMULATOR)
    assert found.window_ms == config.exchange_config.window_ms  # type: ignore[attr-defined]
    assert found.close_position == (config.stop.position == "close")
    assert credentials(found, KEYS) == resolve_credentials(config, KEYS)


def test_simulated_money_never_sees_real_keys() -> None:
    config = load_instance("bp_sol_01", DATA, KEYS).config.model_copy(update={"live": False})
    assert credentials(watched(BEAT, config.to_json(), SIMULATOR), KEYS) == DEMO_CREDENTIALS


def test_missing_keys_are_named() -> None:
    config = load_instance("bp_sol_01", DATA, KEYS).config.model_copy(update={"live": True})
    found = watched(BEAT, config.to_json(), SIMULATOR)
    with pytest.raises(CannotWatch, match="BACKPACK_SECRET not set"):
        credentials(found, {"BACKPACK_KEY": "public", "BACKPACK_SECRET": " "})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metadata": 1, "exchange_config": {}, "live": true}'])
def test_a_configuration_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(CannotWatch, match="cannot be read"):
        watched(BEAT, text, SIMULATOR)


def test_the_budget_is_small_and_grows_back() -> None:
    now_s = [0.0]
    budget = OwnBudget(lambda: now_s[0])
    for _ in range(int(AT_ONCE)):
        budget.take(RequestKind.CANCEL)
    with pytest.raises(RateLimited) as refused:
        budget.take(RequestKind.READ)
    assert refused.value.retry_after_s == pytest.approx(1 / PER_SECOND)
    now_s[0] += 1 / PER_SECOND
    budget.take(RequestKind.CANCEL)
