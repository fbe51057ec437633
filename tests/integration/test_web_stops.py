"""Stops over HTTP, of one and of all, and what a change leaves behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
import redis
import requests

from runner.lifecycle import StartRefused
from state import keys
from state.instances import StopResult
from tests.acceptance.world import eventually
from tests.integration.web_bench import TIMEOUT_S, WebBench, code_of
from web.routes import control

pytestmark = pytest.mark.services
NAME = "bp_sol_01"


def test_a_stop_closes_the_gate_before_it_answers(web: WebBench) -> None:
    epoch = web.start(NAME)
    web.log_in()
    answer = web.post(f"/instances/{NAME}/stop")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["epoch"], told["phase"], told["result"]) == (epoch, "stopping", "stopping")
    assert told["warnings"] == ["no worker serves queue cleanup: start one, celery -A tasks worker"]
    assert web.services.context.client.exists(keys.stop(NAME)) == 1
    assert web.post(f"/instances/{NAME}/stop").json()["result"] == "joined"


def test_a_refused_change_changes_nothing_and_is_recorded(web: WebBench) -> None:
    web.start(NAME)
    web.log_in()
    answer = web.post(f"/instances/{NAME}/stop", {"policy": "close"})
    assert (answer.status_code, code_of(answer)) == (409, "refused")
    assert "spot" in answer.json()["error"]["message"]
    assert web.get(f"/instances/{NAME}").json()["phase"] == "running"
    (audit,) = web.events(NAME, "audit")
    assert (audit.fields["result"], audit.fields["code"]) == ("refused", "refused")


def test_stopping_all_needs_the_number_that_runs(web: WebBench) -> None:
    names = [f"bp_sol_{number:02}" for number in range(1, 4)]
    for name in names:
        web.start(name)
    web.log_in()
    answer = web.post("/stop-all", {"confirm": 2})
    assert (answer.status_code, answer.json()["error"]["field"]) == (409, "confirm")
    assert {row["phase"] for row in web.get("/instances").json()["instances"]} == {"running"}
    answer = web.post("/stop-all", {"confirm": 3, "reason": "fire"})
    assert answer.status_code == 202
    assert [each["instance_id"] for each in answer.json()["instances"]] == names
    for name in names:
        assert [event.fields["reason"] for event in web.events(name, "stop_requested")] == ["fire"]


def test_one_that_cannot_be_stopped_keeps_none_of_the_others_going(
    web: WebBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"bp_sol_{number:02}" for number in range(1, 4)]
    for name in names:
        web.start(name)
    web.log_in()
    instances = web.services.context.instances
    stop = instances.request_stop

    def failing(instance_id: str, **how: Any) -> StopResult:
        if instance_id == names[0]:
            raise redis.ResponseError("OOM command not allowed")
        return stop(instance_id, **how)

    monkeypatch.setattr(instances, "request_stop", failing)
    answer = web.post("/stop-all", {"confirm": 3})
    assert answer.status_code == 503
    rows = web.services.rows.read(fresh=True).instances
    assert [row.phase for row in rows] == ["running", "stopping", "stopping"]
    error = answer.json()["error"]
    assert "not stopped: bp_sol_01" in error["message"]


def test_a_stop_waits_behind_no_crowd_of_slow_requests(
    web: WebBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.start(NAME)
    web.log_in()
    begun: list[str] = []
    go_on = threading.Event()

    def hanging(context: object, name: str, **how: Any) -> NoReturn:
        begun.append(name)
        go_on.wait(4 * TIMEOUT_S)
        raise StartRefused("the exchange did not answer")

    monkeypatch.setattr(control, "start_one", hanging)
    token = {"Authorization": f"Bearer {web.services.tokens.make('crowd')}"}
    url = f"{web.base}/instances/{NAME}/start"
    with ThreadPoolExecutor(60) as crowd:
        for _ in range(60):
            crowd.submit(requests.post, url, json={}, headers=token, timeout=4 * TIMEOUT_S)
        eventually(lambda: len(begun) >= 40, what="a crowd")
        try:
            # Behind the crowd it would be asked for in vain.
            assert web.post(f"/instances/{NAME}/stop").status_code == 202
        finally:
            go_on.set()


def test_a_damaged_record_keeps_none_of_the_others_going(web: WebBench) -> None:
    names = ["bp_sol_01", "bp_sol_02", "bp_sol_03"]
    for name in names:
        web.start(name)
    web.services.context.client.delete(keys.record(names[0]))
    web.services.context.client.hset(keys.record(names[0]), "phase", "odd")
    web.log_in()
    web.post("/stop-all", {"confirm": 2})
    rows = web.services.rows.read(fresh=True).instances
    assert [row.phase for row in rows] == ["failed", "stopping", "stopping"]


def test_what_was_never_started_cannot_be_stopped_and_nobody_is_unknown(web: WebBench) -> None:
    web.configure(NAME)
    web.log_in()
    answer = web.post(f"/instances/{NAME}/stop")
    assert (answer.status_code, code_of(answer)) == (409, "never_started")
    for path in (
        "",
        "/receipt",
        "/orders",
        "/fills",
        "/pnl",
        "/events",
        "/market",
        "/quotes",
        "/series",
        "/config",
    ):
        assert web.get(f"/instances/nobody{path}").status_code == 404
        assert web.get(f"/instances/..%2F..%2Fetc{path}").status_code in {404, 422}


def test_a_failed_stop_is_started_over_only_by_naming_what_it_left(web: WebBench) -> None:
    web.start(NAME)
    web.services.context.client.hset(keys.record(NAME), mapping={"phase": "failed", "left": "17,4"})
    web.log_in()
    detail = web.get(f"/instances/{NAME}").json()
    assert (detail["phase"], detail["order_ids_left"]) == ("failed", ["17", "4"])
    answer = web.post(f"/instances/{NAME}/start", {"force": True, "accept_orders": ["4"]})
    assert (answer.status_code, code_of(answer)) == (409, "not_accepted")
    assert answer.json()["error"]["errors"][0]["allowed"] == "17,4"
