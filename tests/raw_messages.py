"""Messages as they lie in the broker's queues, good ones and every kind of bad one."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any


def message(
    task: str = "tasks.cleanup",
    args: Any = ("nobody_01", 1),
    *,
    kwargs: Any = None,
    follow: Any = None,
    body: bytes | None = None,
    content_type: str = "application/json",
    headers: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **properties: Any,
) -> dict[str, Any]:
    """Return a message as Celery writes it; `body`, `headers` and `properties` replace parts of it."""
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    payload = [args, kwargs or {}, nothing if follow is None else follow]
    text = json.dumps(payload).encode() if body is None else body
    identity = str(uuid.uuid4())
    found = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {
            "lang": "py",
            "task": task,
            "id": identity,
            "root_id": identity,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "gen1@test",
            "ignore_result": True,
            **(headers or {}),
        },
        "properties": {
            "correlation_id": identity,
            "reply_to": str(uuid.uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "cleanup"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            **properties,
        },
    }
    for name in without:
        part, _, field = name.rpartition(".")
        del (found[part] if part else found)[field]  # type: ignore[attr-defined]
    return found


class _Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/tmp/cleanbook-pickle-was-run", "w"))


def bad_messages() -> Iterator[tuple[str, str, bytes]]:
    """Yield a name, the reason for which it must be refused, and the message."""
    wrong_arguments: dict[str, Any] = {
        "no arguments": [],
        "too many": ["nobody_01", 1, 2],
        "a number for the instance": [7, 1],
        "a path for the instance": ["../../etc/passwd", 1],
        "a key for the instance": ["x}:record", 1],
        "a newline behind the instance": ["nobody_01\n", 1],
        "a long instance": ["n" * 65, 1],
        "a text for the epoch": ["nobody_01", "1"],
        "a truth for the epoch": ["nobody_01", True],
        "a fraction for the epoch": ["nobody_01", 1.0],
        "a negative epoch": ["nobody_01", -1],
        "a huge epoch": ["nobody_01", 10**30],
        "a list for the epoch": ["nobody_01", [1]],
        "arguments by name": {"instance_id": "nobody_01", "epoch": 1},
    }
    for name, args in wrong_arguments.items():
        yield name, "arguments", _raw(message(args=args))
    yield "keyword arguments", "arguments", _raw(message(args=[], kwargs={"instance_id": "x", "epoch": 1}))
    yield "a tick of a wake-up", "arguments", _raw(message("tasks.iterate", ["nobody_01", 1, -1]))
    yield "iterate without tick", "arguments", _raw(message("tasks.iterate", ["nobody_01", 1]))
    follow = {"callbacks": [{"task": "tasks.cleanup", "args": ["nobody_01", 1]}], "errbacks": None}
    yield "a task that follows", "body", _raw(message(follow=follow))
    yield "a body of another form", "body", _raw(message(body=b'{"args": []}'))
    yield "broken JSON in the body", "undecodable", _raw(message(body=b'[["nobody_01", 1'))
    yield "deep JSON in the body", "undecodable", _raw(message(body=b"[" * 20_000))
    yield "digits without end", "undecodable", _raw(message(body=b"[[" + b"1" * 20_000 + b"]]"))
    yield "no text in the body", "undecodable", _raw(message(body=b"\xff\xfe\x00"))
    pickled = pickle.dumps(_Attack())
    for content_type in ("application/x-python-serialize", "application/x-yaml", "application/nonsense"):
        yield content_type, "content type", _raw(message(body=pickled, content_type=content_type))
    yield "no task", "headers", _raw(message(without=("headers.task",)))
    yield "no id", "headers", _raw(message(without=("headers.id",)))
    yield "another task", "unknown task", _raw(message("os.system", ["true"]))
    yield "a task of Celery", "unknown task", _raw(message("celery.backend_cleanup", []))
    yield "a list for the task", "headers", _raw(message(headers={"task": ["tasks.cleanup"]}))
    yield "limits of its own", "headers", _raw(message(headers={"timelimit": [9e9, 9e9]}))
    yield "an end of its own", "headers", _raw(message(headers={"expires": "2020-01-01T00:00:00+00:00"}))
    late = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    for name, eta in (
        ("no time", "tomorrow"),
        ("a number", 12),
        ("far", late),
        ("year 9999", "9999-12-31T23:59:59-23:59"),
    ):
        yield f"start at {name}", "eta", _raw(message(headers={"eta": eta}))
    bomb = zlib.compress(b"0" * 30_000_000)
    yield "a bomb", "compressed", _raw(message(body=bomb, headers={"compression": "application/x-gzip"}))
    for field in (
        "properties",
        "headers",
        "body",
        "content-type",
        "properties.delivery_tag",
        "properties.delivery_info",
    ):
        yield f"no {field}", "envelope", _raw(message(without=(field,)))
    yield "broken base64", "envelope", _raw(message() | {"body": "a"})
    yield "another encoding", "envelope", _raw(message(body_encoding="rot13"))
    yield "a marked value", "envelope", _raw(message(headers={"x": {"__type__": "datetime", "__value__": 5}}))
    yield "signed and not", "envelope", _raw(message(content_type="application/data"))
    for text in (b"", b"5", b"null", b"[]", b"{}", b"{", b"\xff\xfe", b'"text"', b"[" * 100_000):
        if text:
            yield f"raw {text[:9]!r}", "oversized" if len(text) > 65_536 else "envelope", text
    yield "10 MB", "oversized", _raw(message(args=["n" * 10_000_000, 1]))


def _raw(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
