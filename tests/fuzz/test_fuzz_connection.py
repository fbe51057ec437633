"""Whatever comes over a WebSocket: events that make sense, or the end of the stream; and it opens again."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.backpack.config import Credentials
from exchanges.backpack.stream import BackpackStream
from exchanges.errors import StreamClosed
from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY
from tests.fuzz import wire
from tests.fuzz.fuzzing import SLOW, fuzz, spoiled
from tests.fuzz.sense import assert_makes_sense
from tests.unit.exchanges.stream_server import StreamServer, frame, pulse, ticker

NOW_MS = 1_790_000_000_000


@pytest.fixture
def server() -> Iterator[StreamServer]:
    made = StreamServer()
    yield made
    made.stop()


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw what a server that is out of its mind writes."""
    kind = draw(st.sampled_from(("message", "message", "frame", "length", "noise")))
    if kind == "noise":
        return draw(st.binary(max_size=12))
    if kind == "length":
        size = draw(st.sampled_from((0, 125, 2**16, 2**31, 2**63, 2**64 - 1)))
        return bytes([draw(st.integers(0, 255)), 127]) + struct.pack("!Q", size)
    body = draw(spoiled(draw(st.sampled_from(list(wire.STREAM_MESSAGES.values())))))
    if kind == "message":
        return frame(body[:2_000])
    return frame(body[:200], draw(st.integers(0, 15)), is_last=draw(st.booleans()))


def receive_everything(stream: BackpackStream) -> None:
    """Read until the stream has ended, or nothing has come for a moment."""
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        found = stream.receive(0.05)
        for event in found:
            assert_makes_sense(event)
        if not found:
            return
    pytest.fail("it never came to rest")


@fuzz(25, divisor=SLOW)
@given(written=st.lists(frames(), min_size=1, max_size=5), hangs_up=st.booleans())
def test_a_stream_tells_events_or_ends_and_opens_again(
    server: StreamServer, written: list[bytes], hangs_up: bool
) -> None:
    credentials = Credentials(api_key=DEMO_API_KEY, secret_key=DEMO_SECRET_KEY)
    stream = BackpackStream(server.url, credentials, lambda: NOW_MS)
    try:
        stream.open()
        server.next()
        server.raw(b"".join(written))
        if hangs_up:
            server.hang_up()
        try:
            receive_everything(stream)
        except StreamClosed as closed:
            assert str(closed).isprintable()
        # Whatever that was: a new connection knows nothing of it.
        stream.open()
        server.next()
        server.raw(frame(json.dumps(ticker(7)).encode()))
        assert stream.receive(5) == (pulse(7),)
    finally:
        stream.close()
