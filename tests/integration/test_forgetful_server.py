"""A state server that may lose its last second: what waits for its disk, and what its restart ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from market.orders import Role
from state import durability, keys
from state.cleanup_leases import CleanupLease
from state.client_ids import ClientOrderId
from state.due import CleanUp
from state.durability import Keeps, NothingKept
from state.leases import LeaseLost, Refusal
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.integration.state_bench import MARGIN_MS, NAME, WINDOW_MS, StateBench

REACH_MS = WINDOW_MS + MARGIN_MS
ONE_QUOTE = [(0, Role.QUOTE)]


class Disk:
    """The state server's disk in the hands of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits = 0
        monkeypatch.setattr(durability, "wait_for_disk", self._wait)
        self.answer: bool | NothingKept = True

    def _wait(self, _: redis.Redis, *, timeout_s: float = 0.0) -> bool:
        self.waits += 1
        if isinstance(self.answer, NothingKept):
            raise self.answer
        return self.answer

    @contextmanager
    def hangs(self) -> Iterator[None]:
        """Let it write nothing for a while."""
        self.answer = False
        yield
        self.answer = True


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def bench(redis_client: redis.Redis) -> StateBench:
    """A running instance on a server with ``appendfsync everysec``."""
    return StateBench(redis_client, Keeps.EVERYSEC)


@pytest.fixture
def faithful(redis_client: redis.Redis) -> StateBench:
    """One on a server that loses nothing."""
    return StateBench(redis_client, Keeps.ALWAYS)


def restart(bench: StateBench) -> None:
    """Ask for a stop, and for a start behind it."""
    bench.instances.request_stop(NAME, by="test", reason="", policy=StopPolicy(), restart="mark")


def generations(*client_order_ids: int) -> list[int]:
    return [number & 0x3FF for number in client_order_ids]


class TestTheDisk:
    def test_nothing_is_authorised_before_the_start_is_on_disk(self, bench: StateBench, disk: Disk) -> None:
        lease = bench.claim()
        with disk.hangs(), pytest.raises(AuthorizationRefused, match="disk"):
            bench.authorize(lease)
        assert bench.instances.run_data(NAME, 7).intents == {}
        bench.authorize(lease)
        assert len(bench.instances.run_data(NAME, 7).intents) == 1

    def test_what_is_authorised_leaves_nothing_to_wait_for(self, bench: StateBench, disk: Disk) -> None:
        lease = bench.claim()
        for level in (0, 1):
            bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(level, Role.QUOTE)])
            assert bench.client.hget(keys.record(NAME), "unsaved") is None
        bench.commit(lease)
        bench.stop()
        bench.close(bench.claim_cleanup())
        assert bench.client.hget(keys.record(NAME), "unsaved") is None

    def test_later_permissions_do_not_wait(self, bench: StateBench, disk: Disk) -> None:
        lease = bench.claim()
        bench.authorize(lease)
        before = disk.waits
        bench.authorize(lease)
        assert disk.waits == before

    def test_the_first_permission_for_a_level_waits_for_itself(self, bench: StateBench, disk: Disk) -> None:
        lease = bench.claim()
        bench.authorize(lease)
        with disk.hangs(), pytest.raises(AuthorizationRefused, match="disk"):
            bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(1, Role.QUOTE)])
        assert len(bench.instances.run_data(NAME, 7).intents) == 1
        bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(1, Role.QUOTE)])
        assert len(bench.instances.run_data(NAME, 7).intents) == 2

    def test_no_run_is_called_clean_before_its_stop_is_on_disk(self, bench: StateBench, disk: Disk) -> None:
        bench.stop()
        lease = bench.claim_cleanup()
        with disk.hangs():
            assert bench.finish(lease, clean=True) == "unsaved"
        assert bench.record.phase is Phase.STOPPING
        assert bench.finish(lease, clean=True) == "stopped"

    def test_no_run_is_called_clean_before_a_restart_that_was_called_off_is_forgotten_on_disk(
        self, bench: StateBench, disk: Disk
    ) -> None:
        restart(bench)
        assert bench.instances.save_stops([NAME])
        lease = bench.claim_cleanup()
        bench.stop()
        with disk.hangs():
            assert bench.finish(lease, clean=True) == "unsaved"
        assert bench.finish(lease, clean=True) == "stopped"

    def test_a_run_whose_iteration_calls_a_restart_off_waits_likewise(
        self, bench: StateBench, disk: Disk
    ) -> None:
        iteration = bench.claim()
        restart(bench)
        assert bench.instances.save_stops([NAME])
        lease = bench.claim_cleanup()
        bench.leases.commit(
            iteration, resolved=True, state_json="", interval_ms=1, next_task_id="n", stop_reason="enough"
        )
        with disk.hangs():
            assert bench.finish(lease, clean=True) == "unsaved"

    def test_a_restart_that_is_called_off_at_the_last_moment_can_be_waited_for(
        self, bench: StateBench, disk: Disk
    ) -> None:
        restart(bench)
        assert bench.finish(bench.claim_cleanup(), clean=True) == "stopped"
        bench.stop()
        with disk.hangs():
            assert not bench.instances.save_stops([NAME])
        assert bench.instances.save_stops([NAME])
        waits = disk.waits
        bench.stop()
        assert bench.instances.save_stops([NAME])
        assert disk.waits == waits

    def test_an_attempt_that_is_not_clean_ends_without_the_disk(self, bench: StateBench, disk: Disk) -> None:
        bench.stop()
        with disk.hangs():
            assert bench.finish(bench.claim_cleanup(), clean=False) == "retry"

    def test_a_wait_for_the_start_does_not_stand_for_the_stop(self, bench: StateBench, disk: Disk) -> None:
        what = bench.client.hget(keys.record(NAME), "unsaved")
        bench.stop()
        assert bench.clock.scripts.call("saved", [keys.record(NAME)], [str(what)]) == ["changed"]
        bench.finish(bench.claim_cleanup(), clean=True)
        assert disk.waits == 1

    def test_a_server_that_can_no_longer_be_waited_for_does_not_block_a_stop(
        self, bench: StateBench, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench.stop()
        disk.answer = NothingKept("it writes no append-only file")
        assert bench.finish(bench.claim_cleanup(), clean=True) == "stopped"
        assert "crash of the state server may take this back: stop" in caplog.text

    def test_a_server_that_loses_nothing_is_not_waited_for(self, faithful: StateBench, disk: Disk) -> None:
        lease = faithful.claim()
        faithful.authorize(lease)
        faithful.commit(lease)
        faithful.stop()
        assert faithful.finish(faithful.claim_cleanup(), clean=True) == "stopped"
        assert disk.waits == 0


class TestItsRestart:
    def test_the_next_claim_moves_the_fence_behind_all_that_was_lost(self, bench: StateBench) -> None:
        bench.clock.restart_server()
        bench.clock.advance(100)
        lease = bench.claim()
        assert bench.record.fence_ms == lease.fence_ms == bench.clock.now_ms + REACH_MS

    def test_a_commit_does_not_pull_that_fence_back(self, bench: StateBench) -> None:
        bench.clock.restart_server()
        fence_ms = bench.clock.now_ms + REACH_MS
        bench.commit(bench.claim())
        assert bench.record.fence_ms == fence_ms

    def test_only_the_first_claim_does(self, bench: StateBench) -> None:
        bench.clock.restart_server()
        fence_ms = bench.clock.now_ms + REACH_MS
        bench.iterate()
        bench.clock.advance(500)
        assert bench.claim(None).fence_ms == fence_ms

    def test_what_may_have_been_authorised_is_written_down_again(self, bench: StateBench) -> None:
        lease = bench.claim()
        granted = bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=ONE_QUOTE)
        assert generations(*granted.client_order_ids) == [1]
        bench.leases.commit(lease, resolved=True, state_json="", interval_ms=1, next_task_id="n", intents={})
        committed_at_ms = bench.clock.now_ms
        bench.clock.advance(1_000)
        bench.clock.restart_server()
        lease = bench.claim(1)
        found = {
            ClientOrderId(slot=7, level=0, role=Role.QUOTE, generation=generation).encode(): committed_at_ms
            for generation in (2, 3, 4, 5)
        }
        assert lease.intents == found

    def test_no_client_order_id_is_given_twice(self, bench: StateBench) -> None:
        lease = bench.claim()
        bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=ONE_QUOTE)
        bench.commit(lease)
        for tick in (1, 2):
            bench.clock.restart_server()
            bench.clock.advance(20_000)
            lease = bench.claim(tick)
            granted = bench.leases.authorize(lease, window_ms=1, orders=[(0, Role.QUOTE), (9, Role.QUOTE)])
            assert generations(*granted.client_order_ids) == [64 * tick + 1 + tick, 64 * tick + tick]
            bench.commit(lease)

    def test_a_lease_of_before_authorises_nothing_and_still_commits(self, bench: StateBench) -> None:
        lease = bench.claim()
        bench.authorize(lease)
        bench.clock.restart_server()
        with pytest.raises(AuthorizationRefused, match="restarted"):
            bench.authorize(lease)
        assert bench.commit(lease).running

    def test_a_cleanup_lease_of_before_is_lost(self, bench: StateBench) -> None:
        bench.stop()
        lease = bench.claim_cleanup()
        bench.clock.restart_server()
        with pytest.raises(LeaseLost):
            bench.cleanup_leases.renew(lease)
        with pytest.raises(LeaseLost):
            bench.finish(lease, clean=True)
        with pytest.raises(AuthorizationRefused, match="restarted"):
            bench.close(lease)

    def test_and_stands_in_nobodys_way(self, bench: StateBench) -> None:
        bench.stop()
        bench.claim_cleanup()
        bench.clock.restart_server()
        bench.clock.advance(3_500)  # when the sweep looks after that lease
        assert isinstance(bench.sweep(), CleanUp)
        assert isinstance(bench.try_claim_cleanup(), CleanupLease)

    def test_a_cleanup_waits_until_nothing_that_was_lost_can_arrive(self, bench: StateBench) -> None:
        bench.stop()
        bench.clock.restart_server()
        fence_ms = bench.clock.now_ms + REACH_MS
        lease = bench.claim_cleanup()
        assert bench.cleanup_leases.renew(lease).fence_ms == fence_ms
        assert bench.finish(lease, clean=True) == "early"

    def test_a_cleanup_does_not_wait_for_an_iteration_whose_end_is_lost(self, bench: StateBench) -> None:
        bench.claim()
        bench.stop()
        bench.clock.restart_server()
        assert bench.cleanup_leases.renew(bench.claim_cleanup()).lease_until_ms == 0

    def test_a_forced_start_keeps_clear_of_it_too(self, bench: StateBench) -> None:
        bench.stop()
        bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
        bench.clock.restart_server()
        bench.start(force=True)
        assert bench.record.fence_ms == bench.clock.now_ms + REACH_MS

    def test_all_instances_wait_from_the_same_time_on(self, bench: StateBench) -> None:
        """Or each would begin to wait when its turn comes, and stops would follow one another."""
        bench.clock.restart_server()
        noticed_at_ms = bench.clock.now_ms
        bench.commit(bench.claim())
        bench.clock.advance(REACH_MS)
        bench.client.hset(keys.record(NAME), "server", "another")  # as in the record of a further instance
        assert bench.claim(None).fence_ms == noticed_at_ms + REACH_MS
        bench.clock.restart_server()
        bench.clock.advance(10_000)
        bench.client.hset(keys.record(NAME), "again", 1)
        assert bench.claim(None).fence_ms == bench.clock.now_ms + REACH_MS, "that one is another server"

    def test_a_server_that_leads_for_the_second_time_is_another_one(self, bench: StateBench) -> None:
        lease = bench.claim()
        bench.clock.lead_again()
        with pytest.raises(AuthorizationRefused, match="restarted"):
            bench.authorize(lease)

    def test_a_record_of_an_older_version_knows_the_process_only(self, bench: StateBench) -> None:
        process = str(bench.client.hget(keys.record(NAME), "server")).split(":")[0]
        bench.client.hset(keys.record(NAME), "server", process)
        bench.authorize(bench.claim())
        assert bench.record.fence_ms == bench.clock.now_ms + REACH_MS, "moved by the permission alone"

    def test_a_server_that_loses_nothing_changes_nothing(self, faithful: StateBench) -> None:
        lease = faithful.claim()
        faithful.clock.restart_server()
        faithful.authorize(lease)
        faithful.commit(lease)
        faithful.clock.advance(10_000)
        faithful.clock.restart_server()
        assert len(faithful.claim(1).intents) == 1, "only the one that was given"
        assert faithful.record.fence_ms == 0
        faithful.stop()
        cleanup = faithful.claim_cleanup()
        faithful.clock.restart_server()
        assert isinstance(faithful.try_claim_cleanup(), Refusal)
        faithful.cleanup_leases.renew(cleanup)


class TestWaiting:
    """`wait_for_disk` against a server that tells what a test wants."""

    @pytest.fixture
    def told(self, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> dict[str, int | str]:
        told: dict[str, int | str] = {"aof_enabled": 1, "aof_pending_bio_fsync": 0}
        monkeypatch.setattr(redis_client, "info", lambda _: told)
        return told

    @pytest.mark.parametrize(
        "trouble",
        [{"aof_pending_bio_fsync": 1}, {"aof_buffer_length": 12}, {"aof_last_write_status": "err"}],
    )
    def test_a_disk_that_is_not_done_is_not_believed(
        self, redis_client: redis.Redis, told: dict[str, int | str], trouble: dict[str, int | str]
    ) -> None:
        told |= trouble
        assert not durability.wait_for_disk(redis_client, timeout_s=1.5)

    def test_an_idle_disk_is_believed_once_a_second_is_over(
        self, redis_client: redis.Redis, told: dict[str, int | str]
    ) -> None:
        assert told
        began_s = time.monotonic()
        assert durability.wait_for_disk(redis_client)
        assert time.monotonic() - began_s >= durability.HANDED_OVER_S

    def test_where_nothing_is_written_nothing_is_waited_for(
        self, redis_client: redis.Redis, told: dict[str, int | str]
    ) -> None:
        told["aof_enabled"] = 0
        with pytest.raises(NothingKept):
            durability.wait_for_disk(redis_client)

    def test_the_real_server_is_waited_for(self, redis_client: redis.Redis) -> None:
        assert durability.wait_for_disk(redis_client)
