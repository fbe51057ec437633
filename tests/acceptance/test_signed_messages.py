"""Signing on: a run trades and stops as ever; without a trusted key nobody gets a task or a command in."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery
from celery.security.certificate import Certificate
from celery.security.key import PrivateKey
from celery.security.serialization import DEFAULT_SEPARATOR, SecureSerializer

from cli.stack.stack import FLOWER_USER, ROOT
from runner.message_keys import new_message_key
from settings import MESSAGE_CERTIFICATE_FILE, MESSAGE_KEY_FILE
from state.refusals import read_refusals
from tests.acceptance.command import plain_environ
from tests.acceptance.other_stack import own_world
from tests.acceptance.world import World, eventually
from tests.raw_messages import bad_messages, message

pytestmark = pytest.mark.acceptance

FOLLOW = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Message keys as `manage.py new-message-key` makes them."""
    directory = tmp_path_factory.mktemp("keys") / "mine"
    new_message_key(directory, now_s=time.time())
    return directory


@pytest.fixture(scope="module")
def signed(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose workers sign, and Flower."""
    environ = {"CLEANBOOK_MESSAGE_KEY_DIR": str(keys)}
    with own_world(tmp_path_factory.mktemp("signed"), environ, flower=True) as world:
        yield world


def sign(keys: Path, payload: Any) -> bytes:
    """Return a body as the holder of `keys` signs it."""
    serializer = SecureSerializer(
        key=PrivateKey((keys / MESSAGE_KEY_FILE).read_text()),
        cert=Certificate((keys / MESSAGE_CERTIFICATE_FILE).read_text()),
        digest="sha256",
    )
    text: str = serializer.serialize(payload)
    return text.encode()


def raw(body: bytes, task: str = "tasks.cleanup") -> bytes:
    return json.dumps(message(task, body=body, content_type="application/data")).encode()


def with_part(body: bytes, number: int, text: bytes) -> bytes:
    """Replace one part of a signed body: 0 signer, 1 signature, 2 type, 3 encoding, 4 text."""
    parts = base64.b64decode(body).split(DEFAULT_SEPARATOR, maxsplit=4)
    parts[number] = text
    return base64.b64encode(DEFAULT_SEPARATOR.join(parts))


def celery(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Celery's own command line as an operator of this stack does."""
    environ = plain_environ() | {
        "BROKER_URL": world.stack.broker_url,
        "CLEANBOOK_MESSAGE_KEY_DIR": world.stack.options.environ["CLEANBOOK_MESSAGE_KEY_DIR"],
    }
    command = [sys.executable, "-m", "celery", "-A", "tasks", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_run_trades_and_stops_clean_and_nothing_unsigned_is_sent(signed: World) -> None:
    signed.run("signed_01")
    first = signed.record("signed_01").seq
    # Every kind of message: an iteration after another, a revoke, a cleanup.
    eventually(lambda: signed.record("signed_01").seq >= first + 5, what="five more iterations")
    waiting = eventually(
        lambda: signed.context.client.hvals("unacked"), what="an iteration that waits in a worker"
    )
    assert {json.loads(text)[0]["content-type"] for text in waiting} == {"application/data"}
    assert signed.stop("signed_01").is_clean
    assert read_refusals(signed.context.client) == {}


def test_what_is_not_signed_by_a_trusted_key_is_refused_and_counted(
    signed: World, keys: Path, tmp_path: Path
) -> None:
    signed.run("signed_02")
    epoch = signed.record("signed_02").epoch
    stranger = tmp_path / "stranger"
    new_message_key(stranger, now_s=time.time())
    cleanup, iteration = [["signed_02", epoch], {}, FOLLOW], [["signed_02", epoch, None], {}, FOLLOW]
    good = sign(keys, cleanup)
    forged = (
        ("unsigned", json.dumps(message(args=cleanup[0])).encode()),
        ("signature", raw(sign(stranger, cleanup))),
        # Ours in name, theirs in text.
        ("signature", raw(with_part(good, 4, json.dumps(iteration).encode()))),
        ("signature", raw(with_part(good, 1, b"AAAA"))),
        # The type lies outside of what is signed; Celery would unpickle.
        (
            "envelope",
            raw(with_part(with_part(good, 2, b"application/x-python-serialize"), 4, pickle.dumps(1))),
        ),
        ("envelope", raw(b"no signature at all")),
        # The headers are not signed either: a signed body under another task's name.
        ("arguments", raw(good, "tasks.iterate")),
        ("arguments", raw(sign(keys, iteration))),
    )
    client = signed.context.client
    before = Counter(read_refusals(client))
    pids = {name: process.pid for name, process in signed.stack.processes.items()}
    for _, text in forged:
        client.lpush("cleanup", text)
    for _, _, text in bad_messages():
        client.lpush("iterate", text)
    expected = Counter(reason for reason, _ in forged)
    expected.update(
        # Signing judges before anything else is looked at.
        "unsigned" if reason in ("arguments", "body", "undecodable", "eta") or name in OUTSIDE else reason
        for name, reason, _ in bad_messages()
    )
    eventually(
        lambda: Counter(read_refusals(client)) - before == expected,
        what=lambda: f"{expected} refused, beyond {before}: {read_refusals(client)}",
    )
    assert {name: process.pid for name, process in signed.stack.processes.items()} == pids
    # None of them has cleaned up: it still trades.
    seq = signed.record("signed_02").seq
    eventually(lambda: signed.record("signed_02").seq > seq, what="the next iteration")
    assert signed.stop("signed_02").is_clean


#: Of the bad messages: headers that are looked at after the type.
OUTSIDE = ("no id", "limits of its own", "an end of its own")


def test_a_captured_message_does_nothing_when_it_is_sent_again(signed: World, keys: Path) -> None:
    signed.run("signed_03")
    assert signed.stop("signed_03").is_clean
    epoch = signed.record("signed_03").epoch
    for args in (["signed_03", epoch, 0], ["signed_03", epoch, None]):
        signed.context.client.lpush("iterate", raw(sign(keys, [args, {}, FOLLOW]), "tasks.iterate"))
    eventually(lambda: signed.context.client.llen("iterate") == 0, what="both taken")
    trace = len(signed.context.events.trace("signed_03"))
    signed.run("signed_04")
    assert signed.stop("signed_04").is_clean
    assert len(signed.context.events.trace("signed_03")) == trace
    assert not signed.exchange.open_order_ids(slot=signed.slot("signed_03"))


def test_control_is_signed_too(signed: World) -> None:
    before = read_refusals(signed.context.client).get("control", 0)
    with Celery("test", broker=signed.stack.broker_url, set_as_current=False) as stranger:
        assert stranger.control.ping(timeout=1) == []
        stranger.control.shutdown()
    eventually(
        lambda: read_refusals(signed.context.client).get("control", 0) == before + 4,
        what="both commands refused by both workers",
    )
    answer = celery(signed, "inspect", "ping", "--json", "--timeout=5")
    assert len(json.loads(answer.stdout)) == 2, answer.stderr


def test_flower_sees_and_commands_workers_that_take_signed_messages_only(signed: World) -> None:
    auth = (FLOWER_USER, signed.stack.flower_password)

    def workers() -> bool:
        found = requests.get(f"{signed.stack.flower_url}/api/workers?refresh=1", auth=auth, timeout=60).json()
        return len(found) == 2 and all("stats" in each and "active_queues" in each for each in found.values())

    eventually(workers, what="two workers that tell Flower about themselves")
    answer = requests.post(f"{signed.stack.flower_url}/api/task/revoke/no-such-task", auth=auth, timeout=60)
    assert answer.ok


@pytest.mark.parametrize("trouble", ["no directory", "a key for all to read", "an expired certificate"])
def test_a_worker_does_not_start_with_keys_that_are_none(tmp_path: Path, trouble: str) -> None:
    directory = tmp_path / "keys"
    if trouble != "no directory":
        ten_years_s = 3651 * 86_400
        new_message_key(directory, now_s=time.time() - (ten_years_s if "expired" in trouble else 0))
        (directory / MESSAGE_KEY_FILE).chmod(0o644 if "read" in trouble else 0o600)
    environ = plain_environ() | {"CLEANBOOK_MESSAGE_KEY_DIR": str(directory)}
    command = [sys.executable, "-m", "celery", "-A", "tasks", "report"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    assert str(directory) in ended.stderr
    assert ("new-message-key" if "read" not in trouble else "chmod 600") in ended.stderr
