"""The files of one host: one for each living process, and one with the sums of those that have ended.

::

    .run/metrics/4711-1f0c9a2b.json    what process 4711 has counted, replaced as a whole
                 4711-1f0c9a2b.lock    held by it for as long as it lives
                 ended.json            sums of ended processes
                 lock                  held by whoever adds an ended process to the sums
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from metrics.numbers import Key, Values

ENDED_FILE = "ended.json"
LOCK_FILE = "lock"
#: Process id, and a word that is another one for each process: ids come round again.
FILE_NAME = re.compile(r"([0-9]{1,10}-[0-9a-f]{8})(\.json|\.json\.new|\.lock|\.lock\.new)")
LOCK_S = 1.0
_LOCK_PAUSE_S = 0.01
#: A file larger than that is none of ours.
LARGEST_FILE = 4 * 1024 * 1024


def write(path: Path, values: Mapping[Key, Values], **more: object) -> None:
    """Replace a file by these values, as a whole. Raises `OSError`; then the file is as it was."""
    text = json.dumps({"values": [[list(key), each] for key, each in values.items()], **more})
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.write_text(text, encoding="ascii")
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def claim(path: Path) -> int:
    """Hold the lock beside `path` until the descriptor that this returns is closed, at the latest by the end.

    By the lock others know that its process lives, whose number may mean another one to them: in a container,
    or once it has come round. Raises `OSError`.
    """
    lock = path.with_suffix(".lock")
    draft = lock.with_name(f"{lock.name}.new")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now under its name: nobody ever finds it there without its holder.
        draft.replace(lock)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_sums(directory: Path) -> dict[Key, Values]:
    """Return what all processes of this host have counted, living and ended ones.

    Files of ended processes are added to the sums and removed on the way. Raises `OSError` when the directory
    cannot be read; without the right to write it nothing is removed.
    """
    with _locked(directory) as is_ours:
        if is_ours:
            fold_ended(directory)
        sums, folded = _read(directory / ENDED_FILE)
        for path in sorted(directory.iterdir()):
            if FILE_NAME.fullmatch(path.name) and path.suffix == ".json" and path.stem not in folded:
                _add(sums, _read(path)[0])
    return sums


def fold_ended(directory: Path) -> None:
    """Add the files of ended processes to the sums, and remove them. Only with the lock held."""
    found = [match for path in directory.iterdir() if (match := FILE_NAME.fullmatch(path.name))]
    # Looked at after the list: who had counts in it had its lock before them. Others may be just beginning.
    ended = sorted(stem for stem in {match[1] for match in found} if _has_ended(directory / f"{stem}.lock"))
    counts = {match[1] for match in found if match[2] == ".json"}
    summed = [stem for stem in ended if stem in counts]
    with suppress(OSError):  # a full or read-only disk: they stay, and count as they are
        if summed:
            sums, folded = _read(directory / ENDED_FILE)
            # One that is in the sums already was left behind by a crash before its removal.
            for stem in (stem for stem in summed if stem not in folded):
                _add(sums, _read(directory / f"{stem}.json")[0])
            write(directory / ENDED_FILE, sums, folded=summed)
        for match in found:
            if match[1] in ended:
                (directory / match[0]).unlink(missing_ok=True)


def tidy_up(directory: Path) -> None:
    """Fold what has ended, unless somebody else is just doing so. Raises `OSError`."""
    with _locked(directory, wait_s=0.0) as is_ours:
        if is_ours:
            fold_ended(directory)


@contextmanager
def _locked(directory: Path, wait_s: float = LOCK_S) -> Iterator[bool]:
    """Hold the directory's lock; tell whether it was to be had. The system gives it back at a crash."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor, time.monotonic() + wait_s)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, deadline_s: float) -> bool:
    pause = threading.Event()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline_s:
                return False
            pause.wait(_LOCK_PAUSE_S)
        else:
            return True


def _has_ended(lock: Path) -> bool:
    """Tell whether nobody holds a lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> tuple[dict[Key, Values], frozenset[str]]:
    """Return the values of a file, and whose they include; nothing for one that is damaged."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            return {}, frozenset()
        content = json.loads(path.read_text(encoding="ascii"))
        values = {
            tuple(str(word) for word in key): [float(number) for number in numbers]
            for key, numbers in content["values"]
        }
        return values, frozenset(str(name) for name in content.get("folded", ()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return {}, frozenset()


def _add(sums: dict[Key, Values], values: Mapping[Key, Values]) -> None:
    for key, numbers in values.items():
        found = sums.get(key, [])
        # Other buckets are another version's: of those the living ones count.
        is_same = len(found) == len(numbers)
        sums[key] = [a + b for a, b in zip(found, numbers, strict=True)] if is_same else numbers
