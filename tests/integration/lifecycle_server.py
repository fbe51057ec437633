"""The state server of the lifecycle machine: its clock is a key, and its machine may lose power."""

from __future__ import annotations

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from state import keys
from state.scripts import Scripts, read_sources

NAME = "machine_01"
CLOCK = "test:clock_ms"
SERVER = "test:server"
#: A server that forces its file to disk each second may lose this much: it waits for the last time to end.
LOST_MS = 2_000
#: What a loss takes back; the rest of the keys decides nothing.
LOSABLE = (
    *(of(NAME) for of in (keys.record, keys.stop, keys.generations, keys.intents)),
    keys.DUE,
)
START_MS = 1_790_000_000_000


def sources_with_test_clock(mutate: dict[str, tuple[str, str]] | None = None) -> dict[str, str]:
    """Return the scripts with their clock replaced, and one text replaced where `mutate` names a script."""
    sources = read_sources()
    for name, (old, new) in (mutate or {}).items():
        assert old in sources[name], f"{name}.lua no longer contains {old!r}"
        sources[name] = sources[name].replace(old, new)
    clock = f"{{redis.call('GET', '{CLOCK}') / 1000, 0}}"
    server = f"('run_id:' .. redis.call('GET', '{SERVER}'))"
    return {
        name: text.replace("redis.call('TIME')", clock).replace("redis.call('INFO', 'server')", server)
        for name, text in sources.items()
    }


class LifecycleServer(RuleBasedStateMachine):
    """The real server, and what it would know after a crash; the first three are set by the test."""

    client: redis.Redis
    #: The same server, with answers as bytes.
    raw: redis.Redis
    sources: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.scripts = Scripts(self.client, sources=self.sources)
        self.now_ms = START_MS
        self.tick(0)
        self.servers = 0
        self._other_server()
        #: When, and what the server knew then: not on its disk for sure but for the first.
        self.past: list[tuple[int, list[bytes | None]]] = []

    def tick(self, ms: int) -> None:
        self.now_ms += ms
        self.client.set(CLOCK, self.now_ms)

    def _other_server(self) -> None:
        self.servers += 1
        self.client.set(SERVER, f"s{self.servers}")

    @rule(ms=st.sampled_from([1, 100, 500, 1_000, 2_000, 3_500]))
    def time_passes(self, ms: int) -> None:
        self.tick(ms)

    def come_back_with(self, at: int, down_ms: int) -> None:
        """Forget what came after a moment of the past, as another process."""
        self._take_back(self.past[at][1])
        self._other_server()
        self.tick(down_ms)
        self.past = [(self.now_ms, self.past[at][1])]

    def _take_back(self, dumps: list[bytes | None]) -> None:
        pipeline = self.raw.pipeline()
        for name, dump in zip(LOSABLE, dumps, strict=True):
            if dump is None:
                pipeline.delete(name)
            else:
                pipeline.restore(name, 0, dump, replace=True)
        pipeline.execute()

    @invariant()
    def remember(self) -> None:
        """Note what the server knows; what it knew before the last step is on disk if that waited for it."""
        pipeline = self.raw.pipeline()
        for name in LOSABLE:
            pipeline.dump(name)
        pipeline.delete(keys.DISK_MARK)
        *dumps, waited = pipeline.execute()
        if waited:
            self.past = self.past[-1:]
        while len(self.past) > 1 and self.past[1][0] < self.now_ms - LOST_MS:
            self.past.pop(0)
        self.past.append((self.now_ms, dumps))
