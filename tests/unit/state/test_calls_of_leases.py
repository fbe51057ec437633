"""What is handed to the scripts of an iteration's lease, and what is made of their answers."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import redis

from market.orders import Role
from state import keys
from state.bookings import MOST_WAITING
from state.client_ids import ClientOrderId, intent_field
from state.hearing import Heard
from state.leases import EARLY_MS, Committed, Lease, LeaseLost, Leases, Place, Refusal
from state.permissions import Granted
from state.scripts import Reply, Scripts
from state.stop_policy import StopPolicy
from tests.factories import client_order_id
from tests.unit.state.told_scripts import Told

NAME = "mm"
LEASE = Lease(
    instance_id=NAME,
    epoch=2,
    tick=3,
    seq=4,
    token="token",
    claimed_at_ms=5,
    due_at_ms=6,
    started_at_ms=7,
    errors=8,
    slot=9,
    account="acc",
    config_version="v",
    state_json="{}",
    fence_ms=10,
    books_json="books",
    daily_json="daily",
    intents={},
)

PLACE = Place(venue="venue", symbol="SOL_USDC", account="acc")


def of(told: Told) -> Leases:
    return Leases(
        cast("redis.Redis", None), cast("Scripts", told), lease_ms=11, grace_ms=12, fence_margin_ms=13
    )


@pytest.mark.parametrize(("tick", "as_told"), [(None, -1), (0, 0), (3, 3)])
def test_a_claim_says_who_wants_what(tick: int | None, as_told: int) -> None:
    told = Told(["busy"])
    of(told).claim(NAME, epoch=2, tick=tick, task_id="t", queue="iterate.1of2")
    ((script, names, arguments),) = told.asked
    assert script == "claim"
    assert names == [
        *(keys.record(NAME), keys.DUE, keys.trace(NAME), keys.intents(NAME), keys.generations(NAME)),
        *(keys.market("", ""), keys.heard(""), keys.BACKLOG),
    ]
    token = arguments.pop(3)
    assert arguments == [NAME, 2, as_told, "t", 11, 12, EARLY_MS, "iterate.1of2"]
    assert len(str(token)) == 16


@pytest.mark.parametrize("paused", ["", "5"])
def test_a_lease_has_all_that_the_script_tells(paused: str) -> None:
    number = client_order_id(slot=9, level=3)
    intents = [intent_field(number), "77"]
    told = Told(
        [
            "claimed",
            5,
            4,
            "3",
            "6",
            7,
            "8",
            "9",
            "v",
            "acc",
            "{}",
            "10",
            "b",
            "d",
            cast("Any", intents),
            paused,
            "look",
            cast("Any", ["1", None, "b", None, None]),
            cast("Any", ["11", "12", None, "13"]),
        ]
    )
    found = of(told).claim(NAME, epoch=2, tick=3, task_id="t", place=PLACE)
    assert told.asked[0][1][5:] == [keys.market("venue", "SOL_USDC"), keys.heard("acc"), keys.BACKLOG]
    assert found == Lease(
        instance_id=NAME,
        epoch=2,
        tick=3,
        seq=4,
        token=str(told.asked[0][2][3]),
        claimed_at_ms=5,
        due_at_ms=6,
        started_at_ms=7,
        errors=8,
        slot=9,
        account="acc",
        config_version="v",
        state_json="{}",
        fence_ms=10,
        books_json="b",
        daily_json="d",
        intents={number: 77},
        is_paused=paused == "5",
        look_json="look",
        market=("1", None, "b", None, None),
        heard=Heard(since_ms=11, heard_ms=12, filled_ms=0, touched_ms=13),
        place=PLACE,
    )
    by_default: dict[str, Any] = {
        name: getattr(LEASE, name) for name in LEASE.__dataclass_fields__ if name != "is_paused"
    }
    assert not Lease(**by_default).is_paused


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (["early", 17], Refusal(reason="early", wait_ms=17)),
        (["busy"], Refusal(reason="busy")),
        (["stale", "epoch"], Refusal(reason="stale", detail="epoch")),
    ],
)
def test_a_refusal_says_why(answer: Reply, refusal: Refusal) -> None:
    assert of(Told(answer)).claim(NAME, epoch=2, tick=3, task_id="t") == refusal


ORDERS = [(1, Role.QUOTE), (2, Role.HEDGE)]


def test_a_permission_is_for_the_orders_asked_for() -> None:
    told = Told(["ok", 5, 6, 7])
    granted = of(told).authorize(LEASE, window_ms=20, orders=ORDERS)
    assert granted == Granted(
        at_ms=5,
        client_order_ids=(
            ClientOrderId(slot=9, level=1, role=Role.QUOTE, generation=6).encode(),
            ClientOrderId(slot=9, level=2, role=Role.HEDGE, generation=7).encode(),
        ),
    )
    names = [keys.record(NAME), keys.stop(NAME), keys.generations(NAME), keys.intents(NAME)]
    fields = [f"1:{Role.QUOTE.value}", f"2:{Role.HEDGE.value}"]
    assert told.asked == [("authorize", names, ["token", 20, 13, *fields])]


def commit(told: Told, **more: Any) -> Committed:
    arguments: dict[str, Any] = {"resolved": True, "state_json": "s", "interval_ms": 21, "next_task_id": "n"}
    return of(told).commit(LEASE, **(arguments | more))


def test_a_commit_keeps_by_default_what_is_there() -> None:
    told = Told(["stopping"])
    commit(told)
    ((script, names, arguments),) = told.asked
    assert script == "commit"
    assert names == [
        *(keys.record(NAME), keys.DUE, keys.trace(NAME), keys.released(NAME), keys.intents(NAME)),
        *(keys.stop(NAME), keys.EVENTS, keys.WAKE, keys.BOOKINGS),
    ]
    policy = StopPolicy().to_json()
    assert arguments == [
        *(NAME, "token", "1", "s", 21, "n", "", 0, 12, "-", EARLY_MS, "", "", "-", "", policy, MOST_WAITING),
        *("", 0, "", ""),
    ]


def test_a_commit_saves_what_it_is_given() -> None:
    told = Told(["stopping"])
    number = client_order_id(level=3)
    policy = StopPolicy(unwind=True)
    commit(
        told,
        resolved=False,
        error="oh",
        error_delay_ms=22,
        order_ids=["1", "2"],
        books_json="b",
        daily_json="d",
        intents={number: 77},
        stop_reason="enough",
        stop_cause="loss",
        stop_policy=policy,
        bookings=["x", "y"],
        is_quiet=True,
        look_again_ms=23,
        look_json="l",
    )
    arguments = told.asked[0][2]
    assert json.loads(str(arguments.pop(13))) == {intent_field(number): 77}
    assert arguments == [
        *(NAME, "token", "0", "s", 21, "n", "oh", 22, 12, "1,2", EARLY_MS, "b", "d", "enough"),
        *(policy.to_json(), MOST_WAITING, 1, 23, "l", "loss", "x", "y"),
    ]


@pytest.mark.parametrize(("countdown", "countdown_ms"), [(-1, None), (0, 0), (5, 5)])
@pytest.mark.parametrize("wake", [0, 1])
def test_a_commit_tells_what_to_publish(countdown: int, countdown_ms: int | None, wake: int) -> None:
    told = Told(["running", 2, 4, countdown, wake, 6])
    assert commit(told) == Committed(
        running=True,
        epoch=2,
        tick=4,
        countdown_ms=countdown_ms,
        task_id="n",
        wake_up=wake == 1,
        errors=6,
    )


def test_a_commit_during_a_stop_has_nothing_to_publish() -> None:
    assert commit(Told(["stopping"])) == Committed(running=False)
    assert Committed(running=False) == Committed(running=False, countdown_ms=None, wake_up=False)


def test_a_commit_of_a_lease_that_was_taken_over_is_lost() -> None:
    with pytest.raises(LeaseLost, match="mm: the lease of iteration 4 was taken over"):
        commit(Told(["lost"]))
