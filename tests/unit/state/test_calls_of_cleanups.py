"""What is handed to the scripts of a cleanup, and what is made of their answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from market.orders import Role
from state import cleanup_leases, keys, permissions
from state.bookings import MOST_WAITING
from state.cleanup_leases import NEVER_MS, CleanupLease, CleanupLeases, InFlight
from state.client_ids import ClientOrderId, intent_field
from state.leases import LeaseLost, Refusal
from state.permissions import AuthorizationRefused, Granted
from state.record import UNKNOWN_LEFT
from state.scripts import Reply, Scripts
from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop, StopAsked
from tests.factories import client_order_id
from tests.unit.state.told_scripts import Told

NAME = "mm"
RECORD = keys.record(NAME)
POLICY = StopPolicy(unwind=True)
LEASE = CleanupLease(
    instance_id=NAME,
    epoch=2,
    token="token",
    claimed_at_ms=5,
    attempt=3,
    slot=9,
    account="acc",
    config_version="v",
    policy=POLICY,
    order_ids=("1", "2"),
)


def of(told: Told, client: Any = None) -> CleanupLeases:
    return CleanupLeases(
        cast("redis.Redis", client), cast("Scripts", told), lease_ms=11, grace_ms=12, fence_margin_ms=13
    )


def claimed(*, flight: str = "", phase: str = "stopping", orders: str = "1,2", paused: str = "") -> Reply:
    asked = json.dumps({"by": "me", "reason": "tea", "at_ms": 4, "policy": {"unwind": True}})
    return [
        *("claimed", 5, 3, 9, "acc", "v", POLICY.to_json(), orders),
        *(7, asked, flight, "receipt", phase, paused),
    ]


def test_a_claim_says_who_wants_what() -> None:
    told = Told(["busy"])
    of(told).claim(NAME, epoch=2, by="worker")
    ((script, names, arguments),) = told.asked
    assert script == "claim_cleanup"
    assert names == [RECORD, keys.DUE, keys.EVENTS, keys.intents(NAME), keys.generations(NAME)]
    token = arguments.pop(2)
    assert arguments == [NAME, 2, 11, 12, "worker"]
    assert len(str(token)) == 16


def test_a_lease_has_all_that_the_script_tells() -> None:
    told = Told(claimed())
    lease = of(told).claim(NAME, epoch=2, by="worker")
    assert lease == replace(
        LEASE,
        token=str(told.asked[0][2][2]),
        started_at_ms=7,
        asked=(StopAsked(by="me", reason="tea", at_ms=4, policy=POLICY),),
        flight=None,
        knows_flight=True,
        receipt_json="receipt",
        is_failed=False,
        paused_at_ms=None,
    )


def test_what_nobody_tells_is_not_there() -> None:
    needed = ("instance_id", "epoch", "token", "claimed_at_ms", "attempt", "slot", "account")
    said: dict[str, Any] = {name: getattr(LEASE, name) for name in needed}
    found = CleanupLease(**said, config_version="v", policy=POLICY, order_ids=())
    assert (found.flight, found.knows_flight, found.is_failed) == (None, True, False)
    assert (found.asked, found.receipt_json, found.started_at_ms, found.paused_at_ms) == ((), "", 0, None)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"flight": "-"}, {"knows_flight": False, "flight": None}),
        (
            {"flight": '{"seq":1,"kind":"tick","tick":2,"task_id":"t","lease_until":3}'},
            {
                "knows_flight": True,
                "flight": FlightAtStop(seq=1, tick=2, task_id="t", lease_until_ms=3),
            },
        ),
        ({"phase": "failed"}, {"is_failed": True}),
        ({"orders": ""}, {"order_ids": ()}),
        ({"orders": "7"}, {"order_ids": ("7",)}),
        ({"paused": "8"}, {"paused_at_ms": 8}),
    ],
)
def test_each_answer_has_its_meaning(told: dict[str, str], expected: dict[str, Any]) -> None:
    lease = of(Told(claimed(**told))).claim(NAME, epoch=2, by="worker")
    assert {name: getattr(lease, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [(["busy"], Refusal(reason="busy")), (["stale", "phase"], Refusal(reason="stale", detail="phase"))],
)
def test_a_refusal_says_why(answer: Reply, refusal: Refusal) -> None:
    assert of(Told(answer)).claim(NAME, epoch=2, by="worker") == refusal


@pytest.mark.parametrize(
    ("told", "how", "ended_at_ms"),
    [("", "", 0), ("committed 17", "committed", 17), ("lease_ran_out", "lease_ran_out", 0)],
)
@pytest.mark.parametrize("settled", [False, True])
def test_a_renewal_tells_what_is_in_flight(told: str, how: str, ended_at_ms: int, settled: bool) -> None:
    scripts = Told(["ok", 5, "6", "task", "7", "1,2", told])
    found = of(scripts).renew(LEASE, settled=settled) if settled else of(scripts).renew(LEASE)
    assert found == InFlight(
        now_ms=5,
        lease_until_ms=6,
        running_task_id="task",
        fence_ms=7,
        order_ids=("1", "2"),
        flight_end=how,
        flight_ended_at_ms=ended_at_ms,
    )
    arguments: list[str | int] = [NAME, "token", 11, 12, "1" if settled else "0"]
    assert scripts.asked == [("renew_cleanup", [RECORD, keys.DUE], arguments)]


def test_a_lease_that_is_lost_is_not_renewed() -> None:
    with pytest.raises(LeaseLost, match="mm: the cleanup lease was lost"):
        of(Told(["lost"])).renew(LEASE)


def test_the_end_of_an_iteration_is_waited_for_where_it_is_told() -> None:
    waits: list[tuple[list[str], float]] = []

    class Client:
        def blpop(self, names: list[str], *, timeout: float) -> None:
            waits.append((names, timeout))

    of(Told(), Client()).wait_released(LEASE, timeout_s=0.5)
    assert waits == [([keys.released(NAME)], 0.5)]


def test_a_permission_is_for_the_orders_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "save", lambda *_: True)
    told = Told(["refused", "unsaved", "stop 5"], ["ok", 5, 6])
    granted = of(told).authorize(LEASE, window_ms=20, orders=[(1, Role.CLEANUP)])
    number = ClientOrderId(slot=9, level=1, role=Role.CLEANUP, generation=6).encode()
    assert granted == Granted(at_ms=5, client_order_ids=(number,))
    names = [RECORD, keys.generations(NAME), keys.intents(NAME)]
    arguments: list[str | int] = ["token", 20, 13, f"1:{Role.CLEANUP.value}"]
    assert told.asked == [("authorize_cleanup", names, arguments)] * 2


def test_a_refused_permission_says_why() -> None:
    with pytest.raises(AuthorizationRefused, match="phase"):
        of(Told(["refused", "phase"])).authorize(LEASE, window_ms=20, orders=[(1, Role.CLEANUP)])


def finish(told: Told, *, clean: bool = True, **more: Any) -> str:
    arguments: dict[str, Any] = {"outcome_json": "{}", "retry_after_ms": 21, "attempts_until_failed": 22}
    return of(told).finish(LEASE, clean=clean, **(arguments | more))


@pytest.mark.parametrize("clean", [True, False])
def test_an_end_keeps_by_default_what_is_there(clean: bool) -> None:
    told = Told(["stopped", 5])
    assert finish(told, clean=clean) == "stopped"
    names = [RECORD, keys.stop(NAME), keys.DUE, keys.EVENTS, keys.intents(NAME), keys.BOOKINGS]
    arguments: list[str | int] = [
        *(NAME, "token", "clean" if clean else "unclean", "{}", 21, 22, "0", "", "-", "", MOST_WAITING),
        *("", UNKNOWN_LEFT, NEVER_MS, ""),
    ]
    assert told.asked == [("finish", names, arguments)]


def test_an_end_saves_what_it_is_given() -> None:
    told = Told(["retry", 5])
    number = client_order_id(level=3)
    finish(
        told,
        failed_after_ms=23,
        left="1,2",
        event_json="event",
        alert="alert",
        keeps_orders=True,
        books_json="b",
        intents={number: 77},
        daily_json="d",
        bookings=["x", "y"],
    )
    arguments = told.asked[0][2]
    assert json.loads(str(arguments.pop(8))) == {intent_field(number): 77}
    assert arguments[6:] == ["1", "b", "d", MOST_WAITING, "event", "1,2", 23, "alert", "x", "y"]


@pytest.mark.parametrize(("keeps", "result", "times"), [(True, "stopped", 2), (False, "unsaved", 1)])
def test_a_clean_end_waits_for_the_disk(
    monkeypatch: pytest.MonkeyPatch, keeps: bool, result: str, times: int
) -> None:
    waited_for: list[tuple[str, str]] = []

    def save(_: object, __: object, name: str, what: str) -> bool:
        waited_for.append((name, what))
        return keeps

    monkeypatch.setattr(cleanup_leases, "save", save)
    told = Told(["unsaved", 5, "stop 4"], ["stopped", 6])
    assert finish(told) == result
    assert (waited_for, len(told.asked)) == ([(NAME, "stop 4")], times)


@pytest.mark.parametrize("result", ["stopped", "retry", "failed", "early"])
def test_no_other_end_does(monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    monkeypatch.setattr(cleanup_leases, "save", lambda *_: pytest.fail("waited"))
    told = Told([result, 5])
    assert finish(told) == result
    assert len(told.asked) == 1


def test_an_end_under_a_lost_lease_is_lost() -> None:
    with pytest.raises(LeaseLost, match="lost before the result was kept"):
        finish(Told(["lost"]))


@pytest.mark.parametrize(("answer", "is_ours"), [("released", True), ("lost", False)])
def test_a_lease_is_given_back_once(answer: str, is_ours: bool) -> None:
    told = Told([answer], [answer])
    assert of(told).release(LEASE, receipt_json="{}") is is_ours
    of(told).release(LEASE, receipt_json="{}", left="1")
    names = [RECORD, keys.DUE, keys.WAKE]
    assert told.asked == [
        ("release_cleanup", names, [NAME, "token", "{}", left]) for left in (UNKNOWN_LEFT, "1")
    ]


@pytest.mark.parametrize(("answer", "is_saved"), [("saved", True), ("stale", False)])
def test_books_are_completed_for_their_own_run(answer: str, is_saved: bool) -> None:
    told = Told([answer], [answer])
    number = client_order_id(level=3)
    books: dict[str, Any] = {"books_json": "b", "daily_json": "d", "intents": {number: 77}}
    assert of(told).complete_books(LEASE, **books) is is_saved
    of(told).complete_books(LEASE, **books, receipt_json="{}", bookings=["x", "y"])
    intents = json.dumps({intent_field(number): 77})
    names = [RECORD, keys.intents(NAME), keys.BOOKINGS]
    assert told.asked == [
        ("complete_books", names, [2, "b", "d", intents, MOST_WAITING, receipt, *bookings])
        for receipt, bookings in (("", []), ("{}", ["x", "y"]))
    ]
