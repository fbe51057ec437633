"""How the scripts are read from their files, and how they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from state import scripts
from state.connection import connect
from state.scripts import CONFIRM_MS, MAY_WRITE, Scripts, Unconfirmed, read_sources


def test_every_script_is_read_with_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "of_both.lua").write_text("local shared = 1\n", encoding="utf-8")
    (tmp_path / "one.lua").write_text("-- says\n-- include parts/of_both.lua\nreturn 1\n", encoding="utf-8")
    (tmp_path / "two.lua").write_text("return 2 -- include parts/of_both.lua\n", encoding="utf-8")
    monkeypatch.setattr(scripts, "LUA_DIR", tmp_path)
    assert read_sources() == {
        "one": "-- says\nlocal shared = 1\nreturn 1\n",
        # Behind code it is a comment like any other.
        "two": "return 2 -- include parts/of_both.lua\n",
    }


def test_no_part_is_left_out_of_the_scripts_there_are() -> None:
    assert not [name for name, text in read_sources().items() if "-- include" in text]


def test_a_script_is_given_its_keys_and_arguments_and_its_answer_comes_back(client: redis.Redis) -> None:
    told = Scripts(client, sources={"echo": "return {KEYS[1], KEYS[2], ARGV[1]}", "count": "return #ARGV"})
    assert told.call("echo", ("a", "b"), (1,)) == ["a", "b", "1"]
    assert told.call_int("count", [], ["x", 2]) == 2
    with client.pipeline(transaction=False) as pipeline:
        told.queue(pipeline, "echo", ("a", "b"), (1,))
        told.queue(pipeline, "count", [], ["x", 2])
        assert pipeline.execute() == [["a", "b", "1"], 2]


def test_the_scripts_of_the_files_are_called_where_no_others_are_given(client: redis.Redis) -> None:
    assert Scripts(client).call("hold_lease", ["lease"], ["token", 1_000]) == ["held"]


class Pipeline:
    """Notes what is asked; so many replicas confirm it."""

    def __init__(self, replicas: int) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._replicas = replicas

    def eval(self, *asked: Any) -> None:
        """Note it."""
        self.asked.append(asked)

    def wait(self, *asked: Any) -> None:
        """Note it."""
        self.asked.append(asked)

    def execute(self) -> list[Any]:
        """Answer."""
        return [["held"], self._replicas]


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_led_by_sentinels_an_answer_counts_once_a_replica_has_it(
    monkeypatch: pytest.MonkeyPatch, replicas: int
) -> None:
    client, pipeline = connect("sentinel://one?master_name=house"), Pipeline(replicas)

    def open_pipeline(*, transaction: bool) -> Pipeline:
        assert not transaction
        return pipeline

    monkeypatch.setattr(client, "pipeline", open_pipeline)
    told = Scripts(client, sources={"take": "return 1"})
    if replicas:
        assert told.call_confirmed("take", ["key"], [2]) == ["held"]
    else:
        with pytest.raises(Unconfirmed):
            told.call_confirmed("take", ["key"], [2])
    assert pipeline.asked == [(f"{MAY_WRITE}return 1", 1, "key", "2"), (1, CONFIRM_MS)]


def test_where_no_other_can_lead_nothing_is_waited_for(client: redis.Redis) -> None:
    assert Scripts(client, sources={"take": "return {ARGV[1]}"}).call_confirmed("take", [], [2]) == ["2"]
