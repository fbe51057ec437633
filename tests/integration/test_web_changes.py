"""Pausing, and editing a run's configuration over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cli.main import run
from runner.starting import CALLED_OFF
from tests.acceptance.world import eventually
from tests.integration.web_bench import TIMEOUT_S, WebBench, code_of

pytestmark = pytest.mark.services
NAME = "bp_sol_01"


def test_a_pause_closes_the_gate_and_a_resume_opens_it(web: WebBench) -> None:
    epoch = web.start(NAME)
    web.log_in()
    answer = web.post(f"/instances/{NAME}/pause", {"reason": "lunch"})
    assert (answer.status_code, answer.json()["result"], answer.json()["epoch"]) == (202, "paused", epoch)
    detail = web.get(f"/instances/{NAME}").json()
    assert (detail["pause_reason"], detail["paused_by"]) == ("lunch", "owner (web session, 127.0.0.1)")
    assert [row["paused"] for row in web.services.rows.read(fresh=True).model_dump()["instances"]] == [True]
    assert web.post(f"/instances/{NAME}/resume").json()["result"] == "resumed"
    assert web.get(f"/instances/{NAME}").json()["paused_at_ms"] is None
    assert [event.fields["action"] for event in web.events(NAME, "audit")] == ["pause", "resume"]
    web.post(f"/instances/{NAME}/stop", {"reason": "enough\x1b[2J\r\nbp_eth_01: stopped clean"})
    assert web.get(f"/instances/{NAME}").json()["stop_reason"] == "enough [2J bp_eth_01: stopped clean"
    answer = web.post(f"/instances/{NAME}/pause")
    assert (answer.status_code, code_of(answer)) == (409, "refused")


def edited(web: WebBench, change: Any, *, base: str = "", query: str = "") -> requests.Response:
    """Read a configuration, change it, and send it back."""
    found = web.get(f"/instances/{NAME}/config").json()
    change(found["config"])
    body = {"config": found["config"], "base_version": base or found["version"]}
    headers = {"X-CSRF-Token": web.csrf}
    url = f"{web.base}/instances/{NAME}/config{query}"
    return web.browser.put(url, json=body, headers=headers, timeout=TIMEOUT_S)


def test_an_edit_goes_into_the_run_and_the_file_and_says_what_it_changes(web: WebBench) -> None:
    web.start(NAME)
    web.log_in()

    def wider(config: dict[str, Any]) -> None:
        config["strategy_config"]["spread"] = "2"

    dry = edited(web, wider, query="?dry_run=1")
    assert dry.status_code == 200
    assert [each["field"] for each in dry.json()["changed"]] == ["strategy_config.spread"]
    assert web.get(f"/instances/{NAME}/config").json()["config"]["strategy_config"]["spread"] == "1"
    old = edited(web, wider, base="0123456789ab")
    assert (old.status_code, code_of(old)) == (409, "conflict")
    done = edited(web, wider)
    assert (done.status_code, done.json()["takes_effect"]) == (200, "next_iteration")
    after = web.get(f"/instances/{NAME}/config").json()
    assert after["config"]["strategy_config"]["spread"] == "2"
    assert after["version"] == after["running_version"] == done.json()["version"]
    refused = edited(web, lambda config: config["strategy_config"].update(spread="-1"))
    assert (refused.status_code, code_of(refused)) == (422, "invalid_config")
    assert refused.json()["error"]["errors"][0]["field"] == "strategy_config.spread"
    results = [event.fields["result"] for event in web.events(NAME, "audit")]
    assert results == ["refused", "next_iteration", "refused"]


def test_a_file_that_was_written_just_now_is_an_instance(web: WebBench) -> None:
    web.log_in()
    assert web.get("/instances").json()["instances"] == []
    web.configure(NAME)
    assert web.get(f"/instances/{NAME}").status_code == 200


def test_what_can_be_edited_has_its_schemas(web: WebBench) -> None:
    web.configure(NAME)
    web.log_in()
    schemas = web.get(f"/instances/{NAME}/config/schema").json()
    found = web.get(f"/instances/{NAME}/config").json()["config"]
    for section in ("strategy_config", "limits", "stop"):
        assert found[section].keys() <= schemas[section]["properties"].keys()
        Draft202012Validator(schemas[section]).validate(found[section])
    assert {each["x-takes-effect"] for each in schemas["limits"]["properties"].values()} == {"next_iteration"}
    assert web.get("/instances/nobody/config/schema").status_code == 404


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("exchange_config", {"base_url": "http://evil.example", "api_key": "${BACKPACK_SECRET}"}),
        ("metadata", {"description": "${BACKPACK_SECRET}"}),
        ("daemon_config", {"python_path": "${BACKPACK_SECRET}"}),
        ("live", True),
        ("exclusive_symbol", True),
    ],
)
def test_no_edit_reaches_keys_addresses_or_real_money(web: WebBench, section: str, value: Any) -> None:
    web.start(NAME)
    web.log_in()
    before = web.get(f"/instances/{NAME}/config").json()

    def change(config: dict[str, Any]) -> None:
        config[section] = {**config.get(section, {}), **value} if isinstance(value, dict) else value

    for query in ("", "?dry_run=1"):
        answer = edited(web, change, query=query)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, section)
    assert web.get(f"/instances/{NAME}/config").json() == before


@pytest.mark.parametrize("way", ["POST stop", "POST stop-all", "manage.py stop", "manage.py stop --all"])
def test_a_stop_is_the_last_word_over_a_restart_that_waits(
    web: WebBench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.start(NAME)
    web.log_in()
    assert web.post(f"/instances/{NAME}/restart").status_code == 202
    if way == "POST stop-all":
        assert web.post("/stop-all", {"confirm": 0}).status_code == 202
    elif way == "POST stop":
        assert web.post(f"/instances/{NAME}/stop").status_code == 202
    else:
        monkeypatch.setenv("BROKER_URL", web.settings.state_url)
        monkeypatch.setenv("CLEANBOOK_CONFIG_DIR", str(web.settings.config_dir))
        assert run([*way.split()[1:], *([] if "--all" in way else [NAME]), "--no-wait"]) == 0
    ended = {"result": "not_started", "why": CALLED_OFF}
    eventually(
        lambda: any(ended.items() <= event.fields.items() for event in web.events(NAME, "audit")),
        what="the end of the restart",
    )
