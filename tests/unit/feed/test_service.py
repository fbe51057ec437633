"""Several feed processes share the accounts; what one gives up or loses another takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from feed.account import AccountFeed
from feed.bookkeeper import Bookkeeper, Retention
from feed.service import LEFT_OVER_S, READING_SHARE, FeedService
from feed.watched import Connections, WatchedAccount
from ledger.database import open_ledger
from state import keys
from state.connection import connect
from state.feeds import LEASE_MS, Feeds
from state.scripts import Scripts
from tests.fake_venue import FakeVenue
from tests.support import wait_until
from tests.unit.feed.feed_bench import FakeStream, RealClock, watched

KEEP = Retention(days=400, details_days=90)
ACCOUNTS = ("v:a", "v:b", "v:c", "v:d")


class Process:
    """A feed process as a thread, with a connection of its own."""

    def __init__(
        self,
        name: str,
        url: str,
        folder: Path,
        accounts: dict[str, WatchedAccount],
        keyless: frozenset[str] = frozenset(),
    ) -> None:
        self.client = connect(url)
        self.streams: dict[str, FakeStream] = {}
        self.accounts = accounts
        self.unreachable: set[str] = set()
        #: Accounts of which it has no keys.
        self.keyless = keyless
        self.service = FeedService(
            name,
            self.client,
            watch=self.watch,
            connect=self.connect,
            can_open=lambda account: account not in self.keyless,
            bookkeeper=Bookkeeper(
                lambda: open_ledger(f"sqlite:///{folder}/ledger.sqlite"), self.client, retention=KEEP
            ),
        )
        self._thread = threading.Thread(target=self.service.run, name=name)
        self._thread.start()

    def watch(self) -> Mapping[str, WatchedAccount]:
        """Return what there is now."""
        return dict(self.accounts)

    def connect(self, account: str) -> Connections:
        """Open an account without a network."""
        if account in self.unreachable:
            raise ValueError("no keys")
        venue = FakeVenue()
        venue.the_clock = RealClock()
        self.streams[account] = FakeStream()
        return Connections(venue=venue, stream=self.streams[account])

    def end(self) -> None:
        """End it."""
        self.service.end()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.client.close()


class Fleet:
    """The processes of a test."""

    def __init__(self, url: str, folder: Path, client: redis.Redis) -> None:
        self._url, self._folder = url, folder
        self.feeds = Feeds(client, Scripts(client))
        self.accounts = {
            name: WatchedAccount(account=name, venue_name="v", instances=watched().instances)
            for name in ACCOUNTS
        }
        self.running: dict[str, Process] = {}

    def add(self, name: str, *, keyless: Collection[str] = ()) -> Process:
        """Start a process, without the keys of some accounts."""
        self.running[name] = Process(name, self._url, self._folder, self.accounts, frozenset(keyless))
        return self.running[name]

    def shares(self) -> dict[str, int]:
        """Return how many accounts each living process says it has."""
        now_ms = time.time_ns() // 1_000_000
        return {each.name: len(each.accounts) for each in self.feeds.processes(now_ms=now_ms)}


@pytest.fixture
def fleet(valkey_server: ValkeyServer, redis_client: redis.Redis, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(valkey_server.url, tmp_path, redis_client)
    yield fleet
    for process in fleet.running.values():
        process.end()


def test_one_process_has_everything_and_two_share_it(fleet: Fleet) -> None:
    fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    fleet.add("two")
    wait_until(lambda: fleet.shares() == {"one": 2, "two": 2})


def test_a_process_that_ends_gives_up_its_accounts_at_once(fleet: Fleet, redis_client: redis.Redis) -> None:
    one = fleet.add("one")
    fleet.add("two")
    wait_until(lambda: fleet.shares() == {"one": 2, "two": 2})
    its_own = set(one.service._running)
    leases = {redis_client.get(keys.feed_lease(account)) for account in its_own}
    one.end()
    # Its leases have not ended by themselves: they are gone, or another's.
    assert leases.isdisjoint({redis_client.get(keys.feed_lease(account)) for account in its_own} - {None})
    wait_until(lambda: fleet.shares() == {"two": 4})


def test_the_lease_of_a_process_that_died_ends_by_itself(fleet: Fleet, redis_client: redis.Redis) -> None:
    assert fleet.feeds.hold("v:a", "token of the dead")
    assert 0 < redis_client.pttl(keys.feed_lease("v:a")) <= LEASE_MS
    # It stands still until somebody has seen it.
    redis_client.persist(keys.feed_lease("v:a"))
    fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 3})
    redis_client.pexpire(keys.feed_lease("v:a"), LEASE_MS)
    wait_until(lambda: fleet.shares() == {"one": 4})


def test_who_lost_its_lease_stops_listening(fleet: Fleet, redis_client: redis.Redis) -> None:
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    redis_client.set("cleanbook:feed:lease:v:a", "somebody else", px=60_000)
    wait_until(lambda: fleet.shares() == {"one": 3})
    assert one.streams["v:a"]._is_closed
    assert redis_client.get("cleanbook:feed:lease:v:a") == "somebody else"


def test_an_account_without_keys_does_not_keep_the_others_from_being_heard(fleet: Fleet) -> None:
    fleet.add("one").unreachable.add("v:a")
    wait_until(lambda: fleet.shares().get("one", 0) >= 3)
    wait_until(lambda: fleet.running["one"].client.get("cleanbook:feed:lease:v:a") is None)


def test_an_account_that_only_one_process_can_open_stays_with_it(fleet: Fleet) -> None:
    two = fleet.add("two")
    wait_until(lambda: fleet.shares() == {"two": 4})
    opened = dict(two.streams)
    fleet.add("one", keyless={"v:b", "v:c", "v:d"})
    wait_until(lambda: fleet.shares() == {"one": 1, "two": 3})
    # The others are not offered round: nobody would listen meanwhile.
    time.sleep(2 * LEFT_OVER_S)
    assert fleet.shares() == {"one": 1, "two": 3}
    assert two.streams == opened


def test_what_nobody_takes_within_its_share_is_taken_beyond_it(fleet: Fleet) -> None:
    fleet.add("one", keyless={"v:b", "v:c", "v:d"})
    wait_until(lambda: fleet.shares() == {"one": 1})
    fleet.add("two", keyless={"v:a"})
    wait_until(lambda: fleet.shares() == {"one": 1, "two": 3})


def test_a_round_that_fails_for_any_reason_is_followed_by_another(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.service.READ_AGAIN_S", 0.1)
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    failures = iter([ValueError("a record of a newer version")] * 3)

    def watch() -> Mapping[str, WatchedAccount]:
        for failure in failures:
            raise failure
        return dict(fleet.accounts)

    monkeypatch.setattr(one.service, "_watch", watch)
    del fleet.accounts["v:b"]
    wait_until(lambda: fleet.shares() == {"one": 3})


def test_however_many_start_reading_takes_only_a_part_of_the_time(
    fleet: Fleet, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.service.READ_AGAIN_S", 1000.0)
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    read_s: list[tuple[float, float]] = []

    def watch() -> Mapping[str, WatchedAccount]:
        begun_s = time.monotonic()
        threading.Event().wait(0.05)
        read_s.append((begun_s, time.monotonic()))
        return dict(fleet.accounts)

    monkeypatch.setattr(one.service, "_watch", watch)

    def start_another_until_all_is_read_again() -> bool:
        redis_client.xadd(keys.EVENTS, {"event": "started", "instance": "x", "epoch": 1, "at_ms": 1})
        return len(read_s) >= 4

    wait_until(start_another_until_all_is_read_again)
    for (begun_s, ended_s), (next_s, _) in pairwise(read_s):
        assert next_s - ended_s >= (ended_s - begun_s) * (1 / READING_SHARE - 1)


def test_an_account_whose_threads_have_ended_is_taken_anew(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    first = one.service._running["v:a"]
    first._ended.set()
    first._thread.join(5)
    wait_until(lambda: one.service._running.get("v:a") not in (None, first))


def test_after_a_restart_of_the_state_server_everything_of_late_is_told_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.service.READ_AGAIN_S", 0.1)
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4} and one.service._server_run_id != "")
    told: list[str] = []
    monkeypatch.setattr(AccountFeed, "distrust", lambda feed: told.append(feed.watched.account))
    one.service._server_run_id = "another"
    wait_until(lambda: sorted(told) == sorted(ACCOUNTS))


def test_an_account_of_which_nothing_runs_any_more_is_given_up(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.service.READ_AGAIN_S", 0.1)
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    del fleet.accounts["v:b"]
    wait_until(lambda: fleet.shares() == {"one": 3})
    assert one.streams["v:b"]._is_closed


def test_a_process_that_ends_is_forgotten(fleet: Fleet) -> None:
    one = fleet.add("one")
    wait_until(lambda: fleet.shares() == {"one": 4})
    one.end()
    assert fleet.shares() == {}
