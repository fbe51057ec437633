"""`status`, `list`, `doctor`, `validate` and `schema`: they look, and change nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli import checks
from cli.checks import Level
from state.bookings import BookingQueue
from state.feeds import Feeds
from state.refusals import count_refusals
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from tests.unit.cli.command_line import FILE, Bench

NAME = "bp_sol_01"
SECRET = "hunter2-the-secret"
LIVE = {"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"}


def everything(bench: Bench) -> dict[str, bytes]:
    """Return all that the server keeps, as it keeps it."""
    raw = bench.client
    return {
        str(key): raw.execute_command("DUMP", key, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
        for key in sorted(raw.keys())
    }


@pytest.mark.parametrize("command", [("status",), ("status", NAME), ("list",), ("doctor",)])
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_looking_changes_nothing(bench: Bench, command: tuple[str, ...], how: tuple[str, ...]) -> None:
    bench.configure(NAME)
    bench.start(NAME)
    bench.start("b1")
    bench.instances.request_stop("b1", by="test", reason="", policy=StopPolicy())
    before = everything(bench)

    bench.run(*command, *how)

    assert everything(bench) == before


def test_list_joins_files_and_records(bench: Bench) -> None:
    bench.configure(NAME)
    bench.configure("not_started")
    bench.configure("broken", live="perhaps")
    bench.start(NAME)
    bench.start("file_gone")

    found = {one["instance_id"]: one for one in bench.run("list", "--json").json["instances"]}

    assert {name: (one["state"], one["config"]) for name, one in found.items()} == {
        NAME: ("running", "changed"),
        "not_started": ("never_started", "ok"),
        "broken": ("never_started", "invalid"),
        "file_gone": ("running", "missing"),
    }
    assert (found[NAME]["symbol"], found[NAME]["strategy"]) == ("SOL_USDC", "standard")
    assert found[NAME]["next_iteration_in_ms"] <= 0
    assert "must be true or false" in found["broken"]["problem"]


@pytest.mark.parametrize("command", ["list", "status"])
def test_a_silent_ledger_is_told_beside_the_data(
    bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    bench.configure(NAME)
    monkeypatch.setattr("runner.lost_state.LastRuns.of", fail)

    ran = bench.run(command, "--json")

    assert ran.json["instances"][0]["state"] == "never_started"
    assert "the ledger cannot tell which instances have run before" in ran.err


def test_list_is_aligned_and_without_colours_when_it_is_piped(bench: Bench) -> None:
    bench.configure(NAME)
    bench.configure("a1")

    lines = bench.run("list").out.splitlines()

    assert len(lines) == 3
    assert len({line.index("SOL_USDC") for line in lines[1:]} | {lines[0].index("SYMBOL")}) == 1
    assert "\x1b" not in "".join(lines)


def test_status_shows_the_proof_of_the_last_stop(bench: Bench) -> None:
    bench.start(NAME)
    bench.instances.request_stop(NAME, by="somebody", reason="lunch", policy=StopPolicy())
    bench.finish(bench.claim(NAME), left=("41",), until=1)

    told = bench.run("status", NAME).out

    assert f"{NAME}: failed" in told
    assert "by somebody: lunch" in told
    assert "last stop: run 1, NOT clean (orders_left)" in told
    assert "run 1 never became clean (orders_left); own orders left: 41" in told
    assert "own orders left: 41" in bench.run("list").out
    assert "1: 41" in told
    assert f"manage.py stop {NAME} follows it" in told


def test_status_of_an_unknown_instance_is_bad_usage(bench: Bench) -> None:
    bench.configure(NAME)

    ran = bench.run("status", "bp_sol_1")

    assert ran.code == 2
    assert "did you mean 'bp_sol_01'?" in ran.err


@pytest.mark.parametrize("command", [("status", NAME), ("list",), ("validate",), ("doctor",)])
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_no_command_shows_a_secret(
    bench: Bench, command: tuple[str, ...], how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKPACK_KEY", SECRET)
    monkeypatch.setenv("BACKPACK_SECRET", SECRET)
    # Also where the exchange would be asked, this test sends nothing beyond this machine.
    bench.configure(NAME, live=True, exchange_config=LIVE | {"base_url": "http://127.0.0.1:1"})

    ran = bench.run(*command, *how)

    assert NAME in ran.out
    assert SECRET not in ran.out + ran.err


class Exchange(BaseHTTPRequestHandler):
    """Answers as an exchange does that is open."""

    status_body = b'{"status":"Ok","message":null}'

    def do_GET(self) -> None:
        body = self.status_body if self.path.endswith("/status") else b"1700000000000"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def exchange_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def levels(bench: Bench) -> dict[str, str]:
    return {check["check"]: check["level"] for check in bench.run("doctor", "--json").json["checks"]}


def test_the_doctor_finds_what_is_there_and_what_is_not(
    bench: Bench, exchange_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_SIMULATOR_URL", exchange_url)
    bench.configure(NAME)
    bench.configure("broken", live="perhaps")
    bench.events.heartbeat("w@test", ("iterate",), bench.instances.now_ms())

    ran = bench.run("doctor")

    assert ran.code == 1
    assert "ok    state server: redis://:***@127.0.0.1" in ran.out
    assert levels(bench) == {
        "state server": "ok",
        "state server eviction": "ok",
        "state server persistence": "ok",
        "clock": "ok",
        "queue iterate": "ok",
        "queue cleanup": "fail",
        "refused messages": "ok",
        "message keys": "ok",
        "feed": "warn",
        "ledger queue": "ok",
        "ledger": "ok",
        "guard": "ok",
        "config bp_sol_01": "ok",
        "config broken": "fail",
        f"exchange {exchange_url}": "ok",
        "exchange clock": "fail",
    }


def test_refused_messages_are_shown(bench: Bench) -> None:
    count_refusals(bench.client, {"arguments": 2, "envelope": 1})
    count_refusals(bench.client, {"arguments": 1})
    assert levels(bench)["refused messages"] == "warn"
    assert "3 for arguments, 1 for envelope" in bench.run("doctor").out
    assert bench.run("status", "--json").json["refused_messages"] == {"arguments": 3, "envelope": 1}
    assert "refused 4 messages" in bench.run("status").err


def test_the_doctor_says_what_to_do_about_eviction(bench: Bench) -> None:
    bench.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = {check["check"]: check for check in bench.run("doctor", "--json").json["checks"]}
    finally:
        bench.client.config_set("maxmemory-policy", "noeviction")

    assert found["state server eviction"]["level"] == "fail"
    assert found["state server eviction"]["advice"] == "CONFIG SET maxmemory-policy noeviction"


def test_the_doctor_knows_who_listens_and_whose_stream_is_lost(bench: Bench) -> None:
    feeds = Feeds(bench.client, Scripts(bench.client))
    feeds.heartbeat("feed@test", {"backpack:1": "streaming"}, at_ms=bench.instances.now_ms())
    assert levels(bench)["feed"] == "ok"
    feeds.heartbeat("feed@test", {"backpack:1": "reconnecting"}, at_ms=bench.instances.now_ms())
    assert levels(bench)["feed"] == "warn"
    assert "backpack:1 reconnecting" in bench.run("doctor").out


def test_the_doctor_finds_bookings_that_pile_up_and_a_ledger_that_is_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLEANBOOK_LEDGER_URL", f"sqlite:///{tmp_path}/mine.sqlite")
    queue = BookingQueue(bench.client)
    queue.add(["{}"] * 2_000)
    queue.claim_ledger("somebody else's")
    found = levels(bench)
    assert (found["ledger queue"], found["ledger"]) == ("warn", "fail")
    assert "--new-ledger" in bench.run("doctor").out


def test_the_doctor_ends_with_4_when_the_exchange_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANBOOK_SIMULATOR_URL", "http://127.0.0.1:1")

    assert bench.run("doctor").code == 4


def test_the_doctor_goes_on_without_a_state_server(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "redis://127.0.0.1:1/0")
    bench.configure(NAME)

    ran = bench.run("doctor", "--json")

    assert ran.code == 4
    found = {check["check"]: check["level"] for check in ran.json["checks"]}
    assert found["state server"] == "fail"
    assert found[f"config {NAME}"] == "ok"


def test_an_exchange_in_maintenance_is_a_warning(exchange_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "status_body", b'{"status":"Maintenance","message":"soon"}')

    status, _clock = checks.exchange(exchange_url)

    assert status.level is Level.WARN
    assert "Maintenance" in status.text


def test_validate_tells_every_problem_of_every_file(bench: Bench) -> None:
    bench.configure(NAME)
    bench.configure("broken", live="perhaps", strategy_config={"spread": "-1"})

    ran = bench.run("validate")

    assert ran.code == 2
    assert f"ok    {NAME}" in ran.out
    assert "wrong broken: 2 problems" in ran.out
    assert "$.strategy_config.spread" in ran.out
    assert "$.live" in ran.out


def test_validate_takes_a_path(bench: Bench, tmp_path: Path) -> None:
    draft = tmp_path / "drafts" / "new_01.json"
    draft.parent.mkdir()
    draft.write_text(json.dumps(FILE))

    ran = bench.run("validate", str(draft), "--json")

    assert ran.code == 0
    assert ran.json["files"][0]["ok"] is True


def test_validate_needs_no_server(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "redis://127.0.0.1:1/0")
    bench.configure(NAME)

    assert bench.run("validate", NAME).code == 0


def test_the_schema_is_json_schema(bench: Bench) -> None:
    assert bench.run("schema").json["$schema"].startswith("https://json-schema.org/")
