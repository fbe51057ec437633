"""What goes wrong: the base of every fault, and what they act on."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from state.connection import connect_impatiently
from tests.chaos.plant import Plant
from tests.chaos.population import Exchange, People
from tests.chaos.recorder import Recorder

#: Faults act on servers that may be away themselves, and must not wait for them.
SOCKET_TIMEOUT_S = 1.0


@dataclass(kw_only=True)
class World:
    """What faults act on."""

    plant: Plant
    exchange: Exchange
    people: People
    recorder: Recorder

    def broker(self) -> redis.Redis:
        """Return a client of the broker."""
        return self._client("broker")

    def state(self) -> redis.Redis:
        """Return a client of the state server."""
        return self._client("state")

    def _client(self, name: str) -> redis.Redis:
        return connect_impatiently(self.plant.url(name), timeout_s=SOCKET_TIMEOUT_S)


@dataclass(kw_only=True)
class Fault(ABC):
    """One occurrence of a fault: it begins, holds for a while, and is ended."""

    name: str
    dice: random.Random = field(repr=False)
    #: Between begin and end.
    hold_s: float = 0.0
    #: What exactly it did, for the record.
    detail: str = ""

    @abstractmethod
    def begin(self, world: World) -> None:
        """Let it go wrong."""

    def end(self, world: World) -> None:  # noqa: B027 - most have nothing to put right
        """Put right what does not come right by itself."""

    def is_over(self, world: World) -> bool:
        """Tell whether it is over once `end` was called: what it killed has been started again."""
        return True


#: Makes an occurrence of a fault: from its dice, and whether there is time for its full length.
Maker = Callable[[random.Random, bool], Fault]
