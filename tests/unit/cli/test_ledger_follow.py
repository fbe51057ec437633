"""`events --follow`: old events from the ledger, new ones from the stream, each once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from cli import event_stream
from cli.stack.valkey import ValkeyServer
from feed.bookkeeper import catch_up
from ledger import queries
from ledger.database import Ledger, open_ledger
from ledger.queries import EventRecord
from state.bookings import BookingQueue
from state.events import Event, Events
from tests.unit.cli.command_line import Ran
from tests.unit.cli.ledger_bench import NO_REDIS, LedgerBench

ROOT = Path(__file__).resolve().parents[3]
NAME = "bp_sol_01"


def step(books: LedgerBench, number: int, instance_id: str = NAME) -> None:
    books.bench.events.cleanup_step(
        instance_id, epoch=1, at_ms=1000 + number, step="verified", detail=str(number)
    )


def told(ran: Ran) -> list[str]:
    return [json.loads(line)["fields"]["detail"] for line in ran.out.splitlines()]


@pytest.fixture
def until_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C as soon as nothing new comes."""
    read = Events.read

    def read_or_interrupt(self: Events, after: str, **how: Any) -> tuple[Event, ...]:
        if "block_ms" not in how:
            return read(self, after, **how)
        found = read(self, after, block_ms=1)
        if not found:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Events, "read", read_or_interrupt)


@pytest.mark.usefixtures("until_quiet")
def test_old_and_new_events_come_once_and_in_order(
    books: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.bench.configure(NAME)
    step(books, 1)
    step(books, 2)
    ask = queries.events

    def ask_while_a_feed_books(ledger: Ledger, name: str, **how: Any) -> tuple[EventRecord, ...]:
        # Between our reading of the cursor and the question, a feed books one more; another one comes after.
        step(books, 3)
        with open_ledger(books.url) as feeds:
            catch_up(BookingQueue(books.bench.client), books.bench.events, feeds)
        found = ask(ledger, name, **how)
        step(books, 4)
        step(books, 5, "another")
        return found

    monkeypatch.setattr(queries, "events", ask_while_a_feed_books)

    ran = books.run("events", NAME, "--follow", "--json")

    assert ran.code == 0
    assert told(ran) == ["1", "2", "3", "4"]


@pytest.mark.usefixtures("until_quiet")
def test_only_the_newest_old_events_are_told(books: LedgerBench) -> None:
    books.bench.configure(NAME)
    for number in range(5):
        step(books, number)

    assert told(books.run("events", NAME, "--follow", "--json", "--limit", "2")) == ["3", "4"]


@pytest.mark.usefixtures("until_quiet")
def test_people_get_aligned_lines(books: LedgerBench) -> None:
    books.bench.configure(NAME)
    step(books, 1)

    ran = books.run("events", NAME, "--follow")

    assert ran.out == "1970-01-01T00:00:01.001Z  1     cleanup_step      verified 1\n"


def test_a_server_that_comes_back_is_followed_again(
    books: LedgerBench, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.bench.configure(NAME)
    step(books, 1)
    assert len(books.rows("events", NAME)) == 1
    monkeypatch.setattr(event_stream, "RECONNECT_S", 0.001)
    monkeypatch.setenv("BROKER_URL", NO_REDIS)
    answers: Iterator[Sequence[Event] | BaseException] = iter(
        (redis.ConnectionError("away"), redis.TimeoutError("slow"), redis.ConnectionError("away"))
    )
    monkeypatch.setattr(event_stream, "require_its_ledger", lambda *_: None)
    position: list[str] = []

    def read(_: Events, after: str, **__: Any) -> Sequence[Event]:
        answer = next(answers, None)
        if isinstance(answer, BaseException):
            raise answer
        if not position:
            position.append(after)
            step(books, 2)
            return books.bench.events.__class__.of_instance(books.bench.events, NAME)
        raise KeyboardInterrupt

    monkeypatch.setattr(Events, "read", read)

    ran = books.run("events", NAME, "--follow", "--json")

    assert told(ran) == ["1", "2"]
    assert ran.err.count("the state server does not answer; trying on") == 1


def test_ctrl_c_ends_a_real_follower_in_good_order(books: LedgerBench, valkey_server: ValkeyServer) -> None:
    books.bench.configure(NAME)
    step(books, 1)
    environ = {
        "PATH": os.environ["PATH"],
        "BROKER_URL": valkey_server.url,
        "CLEANBOOK_CONFIG_DIR": str(books.bench.config_dir),
        "CLEANBOOK_LEDGER_URL": books.url,
    }
    with subprocess.Popen(
        [sys.executable, "manage.py", "events", NAME, "--follow", "--json"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as follower:
        try:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["fields"]["detail"] == "1"
            step(books, 2)
            assert json.loads(follower.stdout.readline())["fields"]["detail"] == "2"
            follower.send_signal(signal.SIGINT)
            rest, complaints = follower.communicate(timeout=20)
        finally:
            follower.kill()
    assert (follower.returncode, rest, complaints) == (0, "", "")
