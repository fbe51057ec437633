"""Counts leave a process through files: none is lost, none is counted twice, none stays for ever."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metrics.directory import ENDED_FILE, LOCK_FILE, claim, read_sums, tidy_up, write
from metrics.keeping import Keeper, keep, keep_last
from metrics.numbers import NUMBERS, Counter

THINGS = Counter(name="test_files_things", help="", labels={"kind": ("a",)})
KEY = ("test_files_things", "a")
#: No process has it: the largest that Linux gives is 4194304.
DEAD_PID = 4_194_999
DEADLINE_S = 60.0


def dead_file(directory: Path, word: str, count: float) -> Path:
    """Leave the file of a process that has ended."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{DEAD_PID}-{word}.json"
    write(path, {KEY: [count]})
    return path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def fill(disk: Path) -> None:
    """Use a disk up."""
    # In small pieces, since one that does not fit as a whole is not written in part.
    with (disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(disk).f_bavail == 0


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """One that writes when it is told to."""
    NUMBERS.forget()
    yield Keeper(tmp_path)
    NUMBERS.forget()


def test_a_process_leaves_its_counts_in_a_file_of_its_own(keeper: Keeper, tmp_path: Path) -> None:
    THINGS.add("a", amount=3)
    keeper.save()
    (name,) = (path.name for path in tmp_path.glob("*.json"))
    assert name.startswith(f"{os.getpid()}-")
    assert read_sums(tmp_path) == {KEY: [3.0]}
    THINGS.add("a")
    keeper.save()
    assert [path.name for path in tmp_path.glob("*.json")] == [name]
    assert read_sums(tmp_path) == {KEY: [4.0]}


def test_nothing_is_written_while_nothing_has_changed(keeper: Keeper, tmp_path: Path) -> None:
    THINGS.add("a")
    keeper.save()
    (path,) = (path for path in tmp_path.iterdir() if path.suffix == ".json")
    path.unlink()
    keeper.save()
    assert not path.exists()


def test_ended_processes_are_summed_up_and_their_files_go(tmp_path: Path) -> None:
    for number in range(50):
        dead_file(tmp_path, f"{number:08x}", 1)
        (tmp_path / f"{DEAD_PID}-{number:08x}.json.new").write_text("{")
        assert read_sums(tmp_path) == {KEY: [number + 1.0]}
        assert names(tmp_path) == {"lock", ENDED_FILE}
    assert (tmp_path / ENDED_FILE).stat().st_size < 1000


def test_a_crash_between_summing_up_and_removing_counts_nothing_twice(tmp_path: Path) -> None:
    path = dead_file(tmp_path, "0000000a", 5)
    content = path.read_text()
    assert read_sums(tmp_path) == {KEY: [5.0]}
    path.write_text(content)
    assert read_sums(tmp_path) == {KEY: [5.0]}
    dead_file(tmp_path, "0000000b", 1)
    assert read_sums(tmp_path) == {KEY: [6.0]}
    assert names(tmp_path) == {"lock", ENDED_FILE}


def test_while_another_sums_up_nothing_is_counted_twice_and_nothing_removed(tmp_path: Path) -> None:
    summed, other = dead_file(tmp_path, "0000000a", 5), dead_file(tmp_path, "0000000b", 1)
    write(tmp_path / ENDED_FILE, {KEY: [5.0]}, folded=[summed.stem])
    with (tmp_path / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_sums(tmp_path) == {KEY: [6.0]}
        assert summed.exists()
        assert other.exists()
    assert read_sums(tmp_path) == {KEY: [6.0]}
    assert names(tmp_path) == {"lock", ENDED_FILE}


def test_the_file_of_a_living_process_stays(tmp_path: Path) -> None:
    # Its number tells nothing: in another container it is another process's.
    path = tmp_path / f"{DEAD_PID}-0000000a.json"
    lock = claim(path)
    write(path, {KEY: [2.0]})
    for _ in range(2):
        assert read_sums(tmp_path) == {KEY: [2.0]}
        assert path.exists()
    os.close(lock)
    assert read_sums(tmp_path) == {KEY: [2.0]}
    assert names(tmp_path) == {"lock", ENDED_FILE}


def test_a_child_that_lives_on_does_not_keep_its_parents_file(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from metrics.keeping import Keeper, _keepers\n"
        "from tests.unit.metrics.test_files_of_a_host import THINGS\n"
        "keeper = Keeper(Path(sys.argv[1])); _keepers.append(keeper); THINGS.add('a'); keeper.save()\n"
        "pid = os.fork()\n"
        "if pid: print(pid, flush=True); os._exit(0)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.wait(DEADLINE_S)
            # The child may come to give up what it has inherited only now.
            eventually(
                lambda: read_sums(tmp_path) == {KEY: [1.0]} and names(tmp_path) == {"lock", ENDED_FILE}
            )
        finally:
            os.kill(child, signal.SIGKILL)


def test_nobody_takes_a_process_for_ended_that_is_just_beginning(tmp_path: Path) -> None:
    locks: list[int] = []
    is_over = threading.Event()

    def tidy() -> None:
        while not is_over.is_set():
            tidy_up(tmp_path)

    tidying = threading.Thread(target=tidy)
    tidying.start()
    try:
        for number in range(200):
            path = tmp_path / f"{DEAD_PID}-{number:08x}.json"
            # A draft that was tidied away in between is an error, after which a process tries again.
            while len(locks) <= number:
                with suppress(FileNotFoundError):
                    locks.append(claim(path))
            write(path, {KEY: [1.0]})
    finally:
        is_over.set()
        tidying.join()
    assert len(list(tmp_path.glob("*-*.json"))) == 200
    assert read_sums(tmp_path) == {KEY: [200.0]}
    for lock in locks:
        os.close(lock)
    assert read_sums(tmp_path) == {KEY: [200.0]}
    assert names(tmp_path) == {"lock", ENDED_FILE}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"values": 3}', '{"values": [[["test_files_things", "a"], ["x"]]]}', "[" * 100_000, "é"],
)
# The processes that run tests have to agree on the names of all of them.
@pytest.mark.parametrize(
    "name",
    [
        f"{DEAD_PID}-0000000f.json",
        pytest.param(f"{os.getpid()}-0000000f.json", id="of a living process"),
        ENDED_FILE,
    ],
)
def test_a_damaged_file_costs_only_what_it_said(tmp_path: Path, content: str, name: str) -> None:
    write(tmp_path / f"{os.getpid()}-0000000a.json", {KEY: [2.0]})
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_sums(tmp_path) == {KEY: [2.0]}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in (
        "notes.json",
        f"{DEAD_PID}.json",
        f"x{DEAD_PID}-0000000a.json",
        f"{DEAD_PID}-0000000a.json~",
    ):
        (tmp_path / name).write_text("{}")
    before = names(tmp_path)
    assert read_sums(tmp_path) == {}
    assert names(tmp_path) == before | {"lock"}


def test_a_child_that_was_forked_counts_for_itself_alone(tmp_path: Path) -> None:
    keep_last()  # of another test in this process: only the first directory counts
    NUMBERS.forget()
    THINGS.add("a", amount=100)
    keep(tmp_path)
    try:
        children = [
            multiprocessing.get_context("fork").Process(target=_count, args=(tmp_path,)) for _ in "ab"
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(DEADLINE_S)
            assert child.exitcode == 0
        eventually(lambda: read_sums(tmp_path) == {KEY: [102.0]})
    finally:
        keep_last()
        NUMBERS.forget()


def _count(directory: Path) -> None:
    keep(directory)
    THINGS.add("a")
    keep_last()


def test_a_child_can_count_that_was_forked_while_its_parent_was_counting() -> None:
    NUMBERS._lock.acquire()
    try:
        child = multiprocessing.get_context("fork").Process(target=THINGS.add, args=("a",))
        child.start()
        child.join(DEADLINE_S)
        assert child.exitcode == 0
    finally:
        child.kill()
        NUMBERS._lock.release()


def test_a_process_that_ends_by_itself_or_is_killed_leaves_what_it_counted(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from metrics.keeping import keep\n"
        "from tests.unit.metrics.test_files_of_a_host import THINGS\n"
        "keep(Path(sys.argv[1])); THINGS.add('a'); time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run([*command, "0"], check=True, timeout=60)
    assert read_sums(tmp_path) == {KEY: [1.0]}
    with subprocess.Popen([*command, "60"]) as process:
        try:
            eventually(lambda: read_sums(tmp_path) == {KEY: [2.0]})
        finally:
            process.kill()
    assert read_sums(tmp_path) == {KEY: [2.0]}
    assert names(tmp_path) == {"lock", ENDED_FILE}


def test_a_directory_that_cannot_be_made_costs_one_warning(tmp_path: Path) -> None:
    NUMBERS.forget()
    (tmp_path / "file").write_text("")
    keeper = Keeper(tmp_path / "file" / "metrics")
    with capture_logs() as logs:
        for _ in range(3):
            THINGS.add("a")
            keeper.save()
        assert [line["log_level"] for line in logs] == ["warning"]
        assert str(tmp_path / "file" / "metrics") in str(logs[0])
        (tmp_path / "file").unlink()
        keeper.save()
    assert logs[1]["event"] == "metrics are written again"
    assert read_sums(tmp_path / "file" / "metrics") == {KEY: [3.0]}
    NUMBERS.forget()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_costs_one_warning_and_the_last_whole_file_stays(small_disk: Path) -> None:
    NUMBERS.forget()
    keeper = Keeper(small_disk / "metrics")
    THINGS.add("a")
    keeper.save()
    with capture_logs() as logs:
        fill(small_disk)
        for _ in range(3):
            THINGS.add("a")
            keeper.save()
        assert read_sums(small_disk / "metrics") == {KEY: [1.0]}
        assert not list((small_disk / "metrics").glob("*.new"))
        (small_disk / "filling").unlink()
        keeper.save()
    assert [line["log_level"] for line in logs] == ["warning", "info"]
    assert read_sums(small_disk / "metrics") == {KEY: [4.0]}
    NUMBERS.forget()


def test_a_full_disk_keeps_the_counts_of_ended_processes_where_they_are(small_disk: Path) -> None:
    path = dead_file(small_disk, "0000000a", 5)
    fill(small_disk)
    assert read_sums(small_disk) == {KEY: [5.0]}
    assert path.exists()
    (small_disk / "filling").unlink()
    assert read_sums(small_disk) == {KEY: [5.0]}
    assert not path.exists()


def test_the_files_hold_numbers_and_names_alone(keeper: Keeper, tmp_path: Path) -> None:
    THINGS.add("a secret")
    keeper.save()
    (path,) = (path for path in tmp_path.iterdir() if path.suffix == ".json")
    assert json.loads(path.read_text()) == {"values": [[["test_files_things", "other"], [1.0]]]}
    assert path.parent.stat().st_mode & 0o077 == 0 or path.parent == tmp_path
