"""Server-sent events: one reader of the state server for all who listen, however many these are."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import redis
import structlog

from runner.context import Context
from state.connection import StateError
from state.events import Event
from web.event_items import event_item, sent
from web.history_models import Tick
from web.models import Hello, Row, Rows, RowsEvent
from web.rows import RowReader, changes
from web.ticks import read_ticks

log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Longest wait for an event, so that the thread can end.
BLOCK_MS = 400
#: How often rows and ticks are looked at; rows are sent every other time.
BEAT_S = 0.5
#: A line that keeps proxies and browsers from giving up.
COMMENT_EVERY_S = 15.0
RETRY_S = 1.0
#: So long a new listener waits for the state server.
READER_WAIT_S = 5.0
#: Messages that wait for a slow listener. One that is slower is cut off, and goes on where it was.
MOST_WAITING = 2000
MOST_STREAMS = 500
REPLAY_AT_ONCE = 1000
_STREAM_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")
COMMENT = ": still here\n\n"
Place = tuple[int, int]


class TooManyStreams(Exception):
    """Raised when nobody else can listen just now."""


class Listener:
    """One open stream."""

    def __init__(self, instance_id: str | None) -> None:
        self.instance_id = instance_id
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.has_rows = False
        self.last_tick: Tick | None = None
        self.told: Place = (0, 0)

    def wants(self, instance_id: str) -> bool:
        """Tell whether an instance is of interest."""
        return self.instance_id is None or self.instance_id == instance_id

    def put(self, text: str) -> None:
        """Send something, or end a stream that nobody reads."""
        if self.queue.qsize() < MOST_WAITING:
            self.queue.put_nowait(text)
        elif self.queue.qsize() == MOST_WAITING:
            self.queue.put_nowait(None)


class Hub:
    """Reads events, rows and ticks while anybody listens. Lives in the event loop."""

    def __init__(self, context: Context, rows: RowReader) -> None:
        self._context = context
        self._rows = rows
        self._listeners: set[Listener] = set()
        self._before: dict[str, Row] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._somebody: asyncio.Event | None = None
        #: Set while the reader of events has a place to go on from.
        self._following: asyncio.Event | None = None
        #: Two readers and a replay at a time; requests have threads of their own.
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="stream")
        self.is_closed = False

    async def start(self) -> None:
        """Begin, in the running loop."""
        self._somebody, self._following = asyncio.Event(), asyncio.Event()
        self._tasks = [asyncio.create_task(self._forever(each)) for each in (self._follow, self._beat)]

    def close(self) -> None:
        """End every stream at once, and take no other."""
        self.is_closed = True
        for listener in self._listeners:
            listener.queue.put_nowait(None)

    async def stop(self) -> None:
        """End the readers."""
        self.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def listen(
        self, *, instance_id: str | None, after: str, is_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """Return what a stream says, for ever; from behind the place `after` where that is one.

        Raises `TooManyStreams`, `redis.RedisError`. It ends when `is_allowed` is no longer true.
        """
        if self.is_closed or len(self._listeners) >= MOST_STREAMS:
            raise TooManyStreams
        listener = Listener(instance_id)
        # Before the place is read: what happens in between is then in the queue, and told apart by its place.
        self._add(listener)
        try:
            await self._wait_for_reader()
            now_ms, newest = await self._run(self._now)
        except BaseException:
            self._listeners.discard(listener)
            raise
        is_resumed = _STREAM_ID.fullmatch(after) is not None
        listener.told = place(after if is_resumed else newest)
        hello = sent("hello", Hello(server_ms=now_ms, stream_id=after if is_resumed else newest, version="1"))
        return self._told(listener, hello, after if is_resumed else None, is_allowed)

    async def _told(
        self, listener: Listener, hello: str, after: str | None, is_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        try:
            yield hello
            while after is not None:
                events = await self._run(partial(self._context.events.read, after, count=REPLAY_AT_ONCE))
                for event in events:
                    listener.told = place(event.stream_id)
                    if listener.wants(event.instance_id):
                        yield lifecycle(event)
                after = events[-1].stream_id if events else None
            while await is_allowed():
                try:
                    text = await asyncio.wait_for(listener.queue.get(), COMMENT_EVERY_S)
                except TimeoutError:
                    yield COMMENT
                    continue
                if text is None:
                    return
                if not text.startswith("id: ") or self._is_new(listener, text):
                    yield text
        finally:
            self._listeners.discard(listener)

    def _is_new(self, listener: Listener, text: str) -> bool:
        at = place(text[4 : text.index("\n")])
        if at <= listener.told:
            return False
        listener.told = at
        return True

    def _add(self, listener: Listener) -> None:
        self._listeners.add(listener)
        if self._somebody is not None:
            self._somebody.set()

    async def _wait_for_reader(self) -> None:
        """Wait until the reader has a place: a listener's own comes behind it then, with no gap between."""
        assert self._following is not None
        try:
            await asyncio.wait_for(self._following.wait(), READER_WAIT_S)
        except TimeoutError:
            raise redis.TimeoutError("the state server does not answer") from None

    async def _wait_for_somebody(self) -> None:
        assert self._somebody is not None
        while not self._listeners:
            self._somebody.clear()
            await self._somebody.wait()

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, whatever goes wrong in it: a reader that dies would leave every page standing still."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("event streams begin anew")
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        assert self._following is not None
        # Begun anew, it has no place yet.
        self._following.clear()
        while True:
            if not self._listeners:
                self._following.clear()
                await self._wait_for_somebody()
            if not self._following.is_set():
                position = await self._retried(self._context.events.last_id)
                self._following.set()
            events = await self._retried(partial(self._context.events.read, position, block_ms=BLOCK_MS))
            for event in events:
                position = event.stream_id
                self._tell(event)

    def _tell(self, event: Event) -> None:
        text = ""
        for listener in self._listeners:
            if listener.wants(event.instance_id):
                text = text or lifecycle(event)
                listener.put(text)

    async def _beat(self) -> None:
        number = 0
        while True:
            await self._wait_for_somebody()
            if number % 2 == 0 or any(not listener.has_rows for listener in self._listeners):
                self._tell_rows(await self._retried(self._rows.read))
            watched = {each.instance_id for each in self._listeners if each.instance_id is not None}
            if watched:
                self._tell_ticks(await self._retried(partial(read_ticks, self._context, self._rows, watched)))
            number += 1
            await asyncio.sleep(BEAT_S)

    def _tell_rows(self, rows: Rows) -> None:
        changed = list(changes(self._before, rows))
        after = {row.instance_id: row for row in rows.instances}
        gone = sorted(self._before.keys() - after.keys())
        self._before = after
        everybody = ""
        for listener in self._listeners:
            chosen = [
                row
                for row in (changed if listener.has_rows else rows.instances)
                if listener.wants(row.instance_id)
            ]
            left = [name for name in gone if listener.wants(name)]
            if not chosen and not left and listener.has_rows:
                continue
            is_common = listener.has_rows and listener.instance_id is None
            text = everybody if is_common and everybody else _rows_text(chosen, left, rows.server_ms)
            everybody = text if is_common else everybody
            listener.has_rows = True
            listener.put(text)

    def _tell_ticks(self, ticks: Mapping[str, Tick]) -> None:
        for listener in self._listeners:
            tick = ticks.get(listener.instance_id or "")
            if tick is None:
                continue
            old = listener.last_tick
            if old is None or old.model_copy(update={"server_ms": tick.server_ms}) != tick:
                listener.last_tick = tick
                listener.put(sent("tick", tick))

    def _now(self) -> tuple[int, str]:
        return self._context.instances.now_ms(), self._context.events.last_id()

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def _retried(self, function: Callable[[], T]) -> T:
        """Return what `function` does; a state server that is away is waited for."""
        is_away = False
        while True:
            try:
                return await self._run(function)
            except (redis.RedisError, StateError) as error:
                if not is_away:
                    log.warning("event streams wait for the state server", error=str(error))
                is_away = True
                await asyncio.sleep(RETRY_S)


def lifecycle(event: Event) -> str:
    """Return an event as it is sent."""
    return sent("lifecycle", event_item(event), stream_id=event.stream_id)


def place(stream_id: str) -> Place:
    """Return a place in the stream as something with an order."""
    first, _, second = stream_id.partition("-")
    return int(first), int(second or 0)


def _rows_text(rows: list[Row], gone: list[str], server_ms: int) -> str:
    return sent("rows", RowsEvent(instances=rows, gone=gone, server_ms=server_ms))
