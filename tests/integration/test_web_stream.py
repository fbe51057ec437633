"""The event stream: nothing is missed, nothing comes twice, nobody holds up the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from state.events import Event
from tests.acceptance.world import eventually
from tests.integration.web_bench import WebBench
from web import stream as streaming

pytestmark = pytest.mark.services
NAME = "bp_sol_01"


@pytest.fixture
def web(redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[WebBench]:
    bench = WebBench(valkey_server.url, tmp_path)
    bench.log_in()
    yield bench
    bench.end()


def step(web: WebBench, name: str, number: int) -> None:
    now_ms = web.services.context.instances.now_ms()
    web.services.context.events.cleanup_step(
        name, epoch=1, at_ms=now_ms, step="cancels_sent", detail=str(number)
    )


def test_a_stream_begins_with_everything_and_tells_what_follows_in_the_words_of_a_stop(web: WebBench) -> None:
    web.start(NAME)
    with web.stream() as stream:
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        _, hello = stream.until("hello")
        _, rows = stream.until("rows")
        assert [row["phase"] for row in rows["instances"]] == ["running"]
        web.post(f"/instances/{NAME}/stop", {"reason": "enough"})
        stream_id, event = stream.until("lifecycle")
        assert stream_id == event["stream_id"] > hello["stream_id"]
        assert (event["event"], event["phase"]) == ("stop_requested", "stop requested")
        assert event["detail"] == "by owner (web session, 127.0.0.1): enough"
        _, rows = stream.until("rows")
        assert [row["phase"] for row in rows["instances"]] == ["stopping"]


def test_who_comes_back_gets_what_was_missed_once_and_in_order(
    web: WebBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.start(NAME)
    with web.stream() as stream:
        stream.until("rows")
        step(web, NAME, 0)
        last_id, event = stream.until("lifecycle")
        assert event["detail"] == "0"
    monkeypatch.setattr(streaming, "REPLAY_AT_ONCE", 50)
    for number in range(1, 200):
        step(web, NAME, number)

    # Events go on while the old ones are told.
    ended = threading.Event()
    numbers = iter(range(200, 10**6))

    def go_on() -> None:
        while not ended.wait(0.002):
            step(web, NAME, next(numbers))

    busy = threading.Thread(target=go_on)
    busy.start()
    seen: list[int] = []
    try:
        with web.stream(**{"Last-Event-ID": last_id}) as stream:
            for name, _, data in stream.messages():
                if name == "lifecycle":
                    seen.append(int(data["detail"]))
                if len(seen) >= 260:
                    break
    finally:
        ended.set()
        busy.join()
    assert seen == list(range(1, 261))


def test_with_an_instance_only_its_events_come_and_its_market(web: WebBench) -> None:
    web.start(NAME)
    web.start("bp_sol_02")
    with web.stream(f"?instance={NAME}") as stream:
        _, rows = stream.until("rows")
        assert [row["instance_id"] for row in rows["instances"]] == [NAME]
        _, tick = stream.until("tick")
        assert (tick["instance_id"], tick["market"]["symbol"], tick["quotes"]) == (NAME, "SOL_USDC", [])
        step(web, "bp_sol_02", 1)
        step(web, NAME, 2)
        _, event = stream.until("lifecycle")
        assert (event["instance_id"], event["detail"]) == (NAME, "2")


def test_a_place_that_is_none_begins_anew(web: WebBench) -> None:
    with web.stream(**{"Last-Event-ID": "nonsense"}) as stream:
        _, hello = stream.until("hello")
        assert hello["stream_id"] == "0-0"


def test_many_listeners_need_no_thread_each_and_end_with_the_server(
    redis_client: redis.Redis, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    web = WebBench(valkey_server.url, tmp_path)
    web.log_in()
    web.start(NAME)
    threads = threading.active_count()
    with ExitStack() as opened:
        streams = [opened.enter_context(web.stream()) for _ in range(60)]
        for stream in streams:
            stream.until("rows")
        assert threading.active_count() < threads + 20
        web.end()
        for stream in streams:
            assert list(stream.messages()) is not None, "each ends instead of hanging"


def test_a_revoked_token_hears_no_more(web: WebBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "COMMENT_EVERY_S", 0.1)
    token = web.services.tokens.make("night-watch")
    web.browser.cookies.clear()
    with web.stream(Authorization=f"Bearer {token}") as stream:
        stream.until("hello")
        web.services.tokens.revoke("night-watch")
        assert [name for name, _, _ in stream.messages() if name == "lifecycle"] == []


def test_a_state_server_that_comes_back_is_heard_again(web: WebBench, valkey_server: ValkeyServer) -> None:
    web.start(NAME)
    with web.stream() as stream:
        stream.until("rows")
        valkey_server.kill()
        time.sleep(0.3)
        valkey_server.start()
        valkey_server.wait_ready()

        def told() -> list[Event]:
            step(web, NAME, 7)
            return web.events(NAME, "cleanup_step")

        eventually(told, what="the state server")
        _, event = stream.until("lifecycle")
        assert event["detail"] == "7"


def test_nothing_is_missed_while_the_first_listener_comes(web: WebBench) -> None:
    web.start(NAME)
    ended = threading.Event()

    def go_on() -> None:
        number = 0
        while not ended.wait(0.001):
            step(web, NAME, number)
            number += 1

    busy = threading.Thread(target=go_on)
    busy.start()
    heard: list[tuple[str, list[str]]] = []
    try:
        # Each is the only one: the reader begins anew for it.
        for _ in range(8):
            eventually(lambda: not web.services.hub._listeners, what="an empty hall")
            with web.stream() as stream:
                _, hello = stream.until("hello")
                heard.append((hello["stream_id"], [stream.until("lifecycle")[0] for _ in range(5)]))
    finally:
        ended.set()
        busy.join()
    all_ids = [event.stream_id for event in web.services.context.events.read("0-0", count=100_000)]
    for begin, ids in heard:
        first = all_ids.index(begin) + 1
        assert ids == all_ids[first : first + len(ids)]
