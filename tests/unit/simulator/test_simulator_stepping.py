"""Who drives the outside market: its own pace, faster, or an operator's steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simulator import flow as synthetic
from simulator.flow import EVENTS_PER_S, SyntheticFlow, run_synthetic
from simulator.stepping import MOST_EVENTS, Stepper
from simulator.tape import TapeError
from tests.unit.simulator.loopback import Client, eventually, running
from tests.unit.simulator.small_exchange import SmallExchange
from tests.unit.simulator.test_simulator_process import TINY, started

#: Events of the tiny tape; one of its lines is none.
TINY_EVENTS = 7


class CountingFlow(SyntheticFlow):
    """Notes when it is stepped; the first step may take its time."""

    def __init__(self, first_step_s: float = 0.0) -> None:
        super().__init__(SmallExchange().engine, 1)
        self.times_s: list[float] = []
        self._first_step_s = first_step_s

    def step(self) -> None:
        """Make no event."""
        if not self.times_s:
            time.sleep(self._first_step_s)
        self.times_s.append(time.monotonic())


def run_until(flow: CountingFlow, speed: float, steps: int) -> tuple[float, int]:
    """Run `flow` for that many steps; return when it began, and the turns that others had meanwhile."""

    async def run() -> tuple[float, int]:
        began_s, turns = time.monotonic(), 0
        beside = asyncio.create_task(run_synthetic(flow, speed))
        while len(flow.times_s) < steps:
            assert time.monotonic() < began_s + 10, f"only {len(flow.times_s)} steps"
            turns += 1
            await asyncio.sleep(0)
        beside.cancel()
        return began_s, turns

    return asyncio.run(run())


def test_a_faster_flow_makes_more_events_a_second_and_never_more_than_asked_for() -> None:
    flow = CountingFlow()
    speed = 40
    # Ten seconds' worth at the usual speed, which the deadline does not allow.
    began_s, _ = run_until(flow, speed, steps=10 * EVENTS_PER_S + 1)
    for number, at_s in enumerate(flow.times_s, start=1):
        assert number <= (at_s - began_s) * EVENTS_PER_S * speed + 1e-6


def test_a_flow_faster_than_it_can_be_lets_others_run() -> None:
    _, turns = run_until(CountingFlow(), 1e9, steps=500)
    assert turns >= 500


def test_a_flow_that_was_held_up_does_not_catch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "LONGEST_LAG_S", 0.05)
    flow = CountingFlow(first_step_s=0.5)
    speed = 20
    run_until(flow, speed, steps=60)
    for number, at_s in enumerate(flow.times_s):
        assert number <= (at_s - flow.times_s[0] + 0.05) * EVENTS_PER_S * speed + 1


def test_steps_are_played_in_order_until_the_end() -> None:
    played: list[int] = []
    stepper = Stepper(partial(played.append, number) for number in range(5))
    assert (stepper.play(2), stepper.ended, played) == (2, False, [0, 1])
    assert (stepper.play(3), stepper.ended, played) == (3, True, [0, 1, 2, 3, 4])
    assert (stepper.play(1), stepper.ended) == (0, True)
    assert Stepper(iter([])).ended


def test_a_tape_that_breaks_off_plays_nothing_twice() -> None:
    played: list[int] = []

    def events() -> Iterator[Any]:
        yield partial(played.append, 1)
        yield partial(played.append, 2)
        raise TapeError("line 3")

    stepper = Stepper(events())
    with pytest.raises(TapeError):
        stepper.play(5)
    assert (stepper.play(5), stepper.ended, played) == (0, True, [1, 2])


def step(client: Client, events: Any) -> dict[str, Any]:
    answer = client.post("/sim/step", {"events": events})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def trades(client: Client, symbol: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/api/v1/trades", symbol=symbol).json()
    return rows


def test_a_manual_market_moves_by_as_many_events_as_it_is_told_and_not_by_itself(tmp_path: Path) -> None:
    with started(tmp_path, "--flow", "manual", "--speed", "1000", "--seed", "5") as (_, client):
        assert trades(client, "SOL_USDC") == []
        assert step(client, 3) == {"played": 3, "ended": False}
        assert len(trades(client, "SOL_USDC")) == len(trades(client, "ETH_USDC_PERP")) == 3
        shown = client.get("/api/v1/depth", symbol="SOL_USDC").json()
        began_s = time.monotonic()
        eventually(lambda: time.monotonic() > began_s + 0.3, "time stands still")
        assert len(trades(client, "SOL_USDC")) == 3
        after = client.get("/api/v1/depth", symbol="SOL_USDC").json()
        assert [after[key] for key in ("bids", "asks")] == [shown[key] for key in ("bids", "asks")]
        step(client, 97)
        touch = client.get("/api/v1/depth", symbol="SOL_USDC", limit="5").json()
    again_path = tmp_path / "again"
    again_path.mkdir()
    with started(again_path, "--flow", "manual", "--seed", "5") as (_, client):
        step(client, 100)
        again = client.get("/api/v1/depth", symbol="SOL_USDC", limit="5").json()
    assert (again["bids"], again["asks"]) == (touch["bids"], touch["asks"])


def test_a_tape_is_played_step_by_step_and_tells_its_end(tmp_path: Path) -> None:
    arguments = ("--tape", str(TINY), "--tape-symbol", "SOL_USDC", "--flow", "manual")
    with started(tmp_path, *arguments) as (_, client):
        # The touch is that of the tape before anything is played.
        assert client.get("/api/v1/depth", symbol="SOL_USDC").json()["bids"][-1][0] == "100"
        assert step(client, TINY_EVENTS - 1) == {"played": TINY_EVENTS - 1, "ended": False}
        assert step(client, 100) == {"played": 1, "ended": True}
        assert step(client, 1) == {"played": 0, "ended": True}
        assert len(trades(client, "SOL_USDC")) == 3


def test_a_tape_that_cannot_be_read_on_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "tape.jsonl"
    broken.write_text(TINY.read_text() + "no tape\n")
    arguments = ("--tape", str(broken), "--tape-symbol", "SOL_USDC", "--flow", "manual")
    with started(tmp_path, *arguments) as (_, client):
        answer = client.post("/sim/step", {"events": 100})
        assert (answer.status_code, answer.json()["code"]) == (500, "INVALID_TAPE")
        assert "line" in answer.json()["message"]
        assert step(client, 1) == {"played": 0, "ended": True}


@pytest.mark.parametrize("events", [0, -1, True, "5", 1.5, None, MOST_EVENTS + 1])
def test_a_number_of_steps_is_a_whole_one_within_bounds(events: Any) -> None:
    exchange = SmallExchange()
    with running(stepper=Stepper(iter([lambda: exchange.show("1", "2")]))) as client:
        answer = client.post("/sim/step", {"events": events})
        assert (answer.status_code, "`events`" in answer.text) == (400, True)
        assert step(client, 1) == {"played": 1, "ended": True}


def test_a_market_that_moves_by_itself_takes_no_steps() -> None:
    with running() as client:
        answer = client.post("/sim/step", {"events": 1})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_STEP")
