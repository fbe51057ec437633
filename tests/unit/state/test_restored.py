"""The record of an instance after its state server's data came from a backup."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.scripts import Reply, Scripts

NAME = "mm_01"


def restored(scripts: Scripts, *, newest: int) -> Reply:
    """Note that the record comes from a backup, while something else knows of a run `newest`."""
    return scripts.call("restored", [keys.record(NAME), keys.generations(NAME)], [newest, 512])


@pytest.mark.parametrize(
    ("phase", "newest", "epoch"),
    [
        ("stopped", 7, 7),
        ("stopped", 3, 3),
        # Of a ledger that comes from an older backup.
        ("stopped", 2, 3),
        # Its cleanup has to be claimed under the number that it has.
        ("stopping", 7, 3),
        ("failed", 7, 3),
    ],
)
def test_only_a_run_that_has_ended_takes_the_number_of_a_later_one(
    client: redis.Redis, scripts: Scripts, phase: str, newest: int, epoch: int
) -> None:
    client.hset(keys.record(NAME), mapping={"phase": phase, "epoch": 3})
    assert restored(scripts, newest=newest) == [phase, epoch]
    assert client.hget(keys.record(NAME), "epoch") == str(epoch)


def test_the_next_run_is_claimed_as_from_another_server_and_gives_no_number_twice(
    client: redis.Redis, scripts: Scripts
) -> None:
    client.hset(keys.record(NAME), mapping={"phase": "stopped", "keeps": "always", "server": "ours"})
    client.hset(keys.generations(NAME), "skipped", 64)
    assert restored(scripts, newest=0) == ["stopped", 0]
    assert client.hmget(keys.record(NAME), ["keeps", "server"]) == ["unsure", ""]
    assert client.hget(keys.generations(NAME), "skipped") == str(64 + 512)


def test_a_record_without_a_phase_is_one_of_no_run_as_everywhere(
    client: redis.Redis, scripts: Scripts
) -> None:
    client.hset(keys.record(NAME), "slot", 1)
    assert restored(scripts, newest=5) == ["stopped", 5]
    assert client.hget(keys.record(NAME), "epoch") == "5"
