"""Who may do what over HTTP, and what is told without harm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from cli.stack.valkey import ValkeyServer
from state import keys
from state.record import Phase
from tests.acceptance.world import eventually
from tests.integration.web_bench import PASSWORD, TIMEOUT_S, WebBench, code_of
from web.login_limit import MOST_FAILURES

pytestmark = pytest.mark.services
NAME = "bp_sol_01"
#: What may be asked without a login.
OPEN = {("get", "/api/v1/health"), ("get", "/api/v1/ready"), ("post", "/api/v1/session")}


def paths(web: WebBench) -> list[tuple[str, str]]:
    """Return method and path of everything that the API says it has."""
    found = requests.get(f"{web.base}/openapi.json", timeout=TIMEOUT_S).json()["paths"]
    return [(method, path) for path, methods in found.items() for method in methods]


def filled(web: WebBench, path: str) -> str:
    return web.origin + re.sub(r"{\w+}", NAME, path)


def test_without_a_login_nothing_is_told_and_nothing_changes(web: WebBench) -> None:
    web.start(NAME)
    asked = paths(web)
    assert len(asked) > 20
    for method, path in asked:
        if (method, path) in OPEN:
            continue
        for headers in ({}, {"Authorization": "Bearer cleanbook_x"}, {"Cookie": "cleanbook_session=a.1.b"}):
            answer = requests.request(method, filled(web, path), headers=headers, json={}, timeout=TIMEOUT_S)
            assert (answer.status_code, code_of(answer)) == (401, "unauthenticated"), (method, path)
    record = web.services.context.instances.read(NAME)
    assert record is not None
    assert record.phase is Phase.RUNNING


def test_a_change_by_cookie_needs_the_token_of_its_login(web: WebBench) -> None:
    web.start(NAME)
    web.log_in()
    other = requests.Session()
    other.post(f"{web.base}/session", json={"password": PASSWORD}, timeout=TIMEOUT_S)
    foreign = other.get(f"{web.base}/session", timeout=TIMEOUT_S).json()["csrf"]
    assert foreign != web.csrf
    for method, path in paths(web):
        if method == "get" or (method, path) in OPEN:
            continue
        for token in ("", foreign):
            answer = web.browser.request(
                method, filled(web, path), headers={"X-CSRF-Token": token}, json={}, timeout=TIMEOUT_S
            )
            assert (answer.status_code, code_of(answer)) == (403, "csrf"), (method, path)
    assert web.get("/session").status_code == 200
    assert web.get(f"/instances/{NAME}").json()["phase"] == "running"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "host"),
        ({"Host": ""}, "host"),
        ({"Origin": "https://evil.example"}, "origin"),
        ({"Origin": "null"}, "origin"),
        ({"Origin": "http://["}, "origin"),
        ({"Origin": "http://127.0.0.1:1"}, "origin"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "origin"),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, "origin"),
    ],
)
def test_other_sites_pages_and_foreign_names_are_refused(
    web: WebBench, headers: dict[str, str], code: str
) -> None:
    web.start(NAME)
    web.log_in()
    for answer in (
        web.get("/instances", **headers),
        web.post(f"/instances/{NAME}/stop", **headers),
        web.browser.get(f"{web.origin}/", headers=headers, timeout=TIMEOUT_S),
    ):
        assert answer.status_code in {400, 403}
        assert code_of(answer) == code
    assert web.get(f"/instances/{NAME}").json()["phase"] == "running"


def test_our_own_page_a_link_and_localhost_are_let_in(web: WebBench) -> None:
    web.log_in()
    port = web.settings.web_port
    assert web.get("/instances", Origin=web.origin).status_code == 200
    by_name = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    cookie = f"cleanbook_session={web.browser.cookies['cleanbook_session']}"
    assert web.get("/instances", Cookie=cookie, **by_name).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert web.browser.get(f"{web.origin}/", headers=link, timeout=TIMEOUT_S).status_code == 200


def test_behind_a_proxy_its_name_is_ours_and_the_cookie_needs_tls(
    redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    proxy = {"web_url": "https://bots.example.org", "web_proxies": ("127.0.0.1",)}
    web = WebBench(valkey_server.url, tmp_path, **proxy)
    try:
        answer = requests.post(
            f"{web.base}/session",
            json={"password": PASSWORD},
            headers={"Host": "bots.example.org", "Origin": "https://bots.example.org"},
            timeout=TIMEOUT_S,
        )
        assert answer.status_code == 204
        assert "; secure" in answer.headers["Set-Cookie"].lower()
        assert "max-age" in answer.headers["Strict-Transport-Security"]
    finally:
        web.end()


def test_a_cookie_is_out_of_reach_of_scripts_and_of_other_sites(web: WebBench) -> None:
    answer = requests.post(f"{web.base}/session", json={"password": PASSWORD}, timeout=TIMEOUT_S)
    attributes = answer.headers["Set-Cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes


def test_every_answer_is_guarded_and_none_is_shared_with_other_sites(web: WebBench) -> None:
    web.log_in()
    here = {"Origin": web.origin}
    answers = [
        web.get("/instances", **here),
        web.get("/instances/nobody", **here),
        web.post("/stop-all", {"confirm": -1}, **here),
        requests.options(f"{web.base}/instances", headers=here, timeout=TIMEOUT_S),
        requests.get(f"{web.base}/nothing", timeout=TIMEOUT_S),
        requests.get(f"{web.origin}/docs", timeout=TIMEOUT_S),
        requests.get(f"{web.origin}/robots.txt", timeout=TIMEOUT_S),
    ]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], answer.url
        assert "script-src 'self';" in answer.headers["Content-Security-Policy"], answer.url
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert "server" not in {name.lower() for name in answer.headers}
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_wrong_passwords_are_counted_and_then_nobody_gets_in_for_a_while(web: WebBench) -> None:
    def log_in(password: str) -> requests.Response:
        return requests.post(f"{web.base}/session", json={"password": password}, timeout=TIMEOUT_S)

    wrong = [log_in("hunter22222222") for _ in range(MOST_FAILURES)]
    assert {(answer.status_code, code_of(answer)) for answer in wrong} == {(401, "wrong_password")}
    assert "hunter" not in "".join(answer.text for answer in wrong)
    right = log_in(PASSWORD)
    assert (right.status_code, code_of(right)) == (429, "rate_limited")
    assert 0 < int(right.headers["Retry-After"]) <= 60


def test_what_is_no_login_is_refused_without_being_repeated(web: WebBench) -> None:
    unknown = {"password": PASSWORD, "x": "secret-in-x"}
    bodies: list[Any] = [{}, unknown, [], "secret-text", {"password": ["secret-1"]}]
    for body in bodies:
        answer = requests.post(f"{web.base}/session", json=body, timeout=TIMEOUT_S)
        assert (answer.status_code, code_of(answer)) == (422, "invalid")
        assert "secret" not in answer.text
        assert PASSWORD not in answer.text


def test_a_body_that_is_too_large_or_of_unknown_length_is_refused(web: WebBench) -> None:
    url = f"{web.base}/session"
    large = requests.post(url, data=b"x" * 1_000_001, timeout=TIMEOUT_S)
    assert (large.status_code, code_of(large)) == (413, "too_large")
    in_pieces = requests.post(url, data=iter([b'{"password": "', b'x"}']), timeout=TIMEOUT_S)
    assert (in_pieces.status_code, code_of(in_pieces)) == (411, "length_required")
    assert web.get("/health").status_code == 200


def test_who_logs_out_is_out(web: WebBench) -> None:
    web.log_in()
    cookie = web.browser.cookies["cleanbook_session"]
    answer = web.browser.delete(f"{web.base}/session", headers={"X-CSRF-Token": web.csrf}, timeout=TIMEOUT_S)
    assert answer.status_code == 204
    headers = {"Cookie": f"cleanbook_session={cookie}"}
    assert requests.get(f"{web.base}/session", headers=headers, timeout=TIMEOUT_S).status_code == 401


def test_a_token_may_change_things_under_its_name_until_it_is_revoked(web: WebBench) -> None:
    web.start(NAME)
    token = web.services.tokens.make("night-watch")
    headers = {"Authorization": f"Bearer {token}"}

    def stop() -> requests.Response:
        body = {"reason": "the moon is full"}
        return requests.post(
            f"{web.base}/instances/{NAME}/stop", headers=headers, json=body, timeout=TIMEOUT_S
        )

    assert stop().status_code == 202
    web.services.tokens.revoke("night-watch")
    assert stop().status_code == 401
    (asked,) = web.events(NAME, "stop_requested")
    assert asked.fields["by"] == "night-watch (web token, 127.0.0.1)"
    assert asked.fields["reason"] == "the moon is full"
    (audit,) = web.events(NAME, "audit")
    assert (audit.fields["action"], audit.fields["result"]) == ("stop", "stopping")
    assert audit.fields["by"] == "night-watch (web token, 127.0.0.1)"


def test_a_file_that_cannot_be_used_is_told_field_by_field(web: WebBench) -> None:
    web.configure(NAME)
    path = web.settings.config_dir / f"{NAME}.json"
    path.write_text(path.read_text().replace('"spread": "1"', '"spread": "-1"'))
    web.log_in()
    for answer in (web.post(f"/instances/{NAME}/start"), web.get(f"/instances/{NAME}/config")):
        assert (answer.status_code, code_of(answer)) == (422, "invalid_config")
        assert [each["field"] for each in answer.json()["error"]["errors"]] == ["strategy_config.spread"]
    (row,) = web.get("/instances").json()["instances"]
    assert row["phase"] == "stopped"
    assert "spread" in row["last_error"]
    assert "spread" in web.get(f"/instances/{NAME}").json()["config_problem"]


def test_one_damaged_record_leaves_the_others_readable(web: WebBench) -> None:
    web.start(NAME)
    web.start("bp_sol_02")
    web.services.context.client.hset(keys.record(NAME), "epoch", "many")
    web.log_in()
    damaged, well = web.get("/instances").json()["instances"]
    assert (damaged["phase"], well["phase"]) == ("unknown", "running")
    assert "epoch" in damaged["last_error"]
    assert web.get(f"/instances/{NAME}").json()["phase"] == "unknown"


def test_the_page_of_the_api_asks_no_other_host(web: WebBench) -> None:
    page = requests.get(f"{web.origin}/docs", timeout=TIMEOUT_S).text
    assert "http" not in page
    found = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(found) == 4
    for path in found:
        assert requests.get(web.origin + path, timeout=TIMEOUT_S).status_code == 200, path
    assert "<script>" not in page
    # Swagger UI refuses anything newer, and shows nothing then.
    described = requests.get(f"{web.origin}/docs/openapi.json", timeout=TIMEOUT_S).json()
    assert described["openapi"] == "3.0.3"
    assert len(described["paths"]) == len({path for _, path in paths(web)})


def test_it_says_what_is_missing_and_no_address(web: WebBench) -> None:
    assert requests.get(f"{web.base}/health", timeout=TIMEOUT_S).json() == {"status": "ok"}
    answer = requests.get(f"{web.base}/ready", timeout=TIMEOUT_S)
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["no worker serves queue iterate", "no worker serves queue cleanup"]
    now_ms = web.services.context.instances.now_ms()
    web.services.context.events.heartbeat("w@test", ("iterate", "cleanup"), now_ms)
    assert requests.get(f"{web.base}/ready", timeout=TIMEOUT_S).json() == {"ready": True, "reasons": []}


def test_a_long_list_takes_no_more_round_trips_than_a_short_one(web: WebBench) -> None:
    names = [f"bp_sol_{number:03}" for number in range(200)]
    for name in names:
        web.start(name)
    web.log_in()
    client = web.services.context.client
    web.get("/instances")

    def reads() -> int:
        return int(client.info("stats")["total_reads_processed"])

    def trips() -> int:
        before = reads()
        found = web.services.rows.read(fresh=True)
        assert len(found.instances) == len(names)
        return reads() - before

    assert trips() < 50
    for name in names:
        client.hset(keys.record(name), "seq", 5)
    assert trips() < 50


def test_without_the_state_server_it_says_so_at_once_and_still_reads_the_ledger(
    web: WebBench, valkey_server: ValkeyServer
) -> None:
    web.start(NAME)
    web.log_in()
    web.get("/instances")
    valkey_server.kill()
    try:
        answer = web.post(f"/instances/{NAME}/stop")
        assert (answer.status_code, code_of(answer)) == (503, "state_unavailable")
        assert requests.get(f"{web.base}/ready", timeout=TIMEOUT_S).status_code == 503
        assert requests.get(f"{web.base}/health", timeout=TIMEOUT_S).status_code == 200
        fills = web.get(f"/instances/{NAME}/fills")
        assert (fills.status_code, fills.json()["up_to_date"]) == (200, False)
        assert valkey_server.url.split("@")[1] not in answer.text
    finally:
        valkey_server.start()
        valkey_server.wait_ready()
    eventually(lambda: web.get("/instances").status_code == 200, what="the list")
