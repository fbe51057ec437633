"""What a feed has to listen to: values that its caller works out from the state server and configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from exchanges.registry import Venue
from exchanges.stream import Stream


@dataclass(frozen=True, kw_only=True)
class WakeOnMove:
    """An instance wants an iteration when the price has moved."""

    #: Of the middle of the book, basis points.
    move_bps: Decimal
    #: Least time between two of these wake-ups.
    spacing_s: float


@dataclass(frozen=True, kw_only=True)
class WatchedInstance:
    """An instance whose account is listened to."""

    instance_id: str
    #: What its client order ids begin with.
    slot: int
    symbol: str
    #: When its run began, state server's time, ms.
    started_at_ms: int
    #: True: iterations may run, so market data is of use.
    is_running: bool
    #: Silence of its symbol's streams after which it has to look for itself, seconds; None: it does not mind.
    max_silence_s: float | None
    #: None: prices wait for its schedule.
    wake_on_move: WakeOnMove | None = None


@dataclass(frozen=True, kw_only=True)
class WatchedAccount:
    """An account and its instances."""

    account: str
    #: Under this name market data of its exchange is kept.
    venue_name: str
    instances: tuple[WatchedInstance, ...]

    # Worked out once: it is asked for every time that something is heard.
    @cached_property
    def symbols(self) -> frozenset[str]:
        """Return the markets whose data is of use."""
        return frozenset(each.symbol for each in self.instances if each.is_running)


@dataclass(frozen=True, kw_only=True)
class Connections:
    """How an account is reached."""

    venue: Venue
    stream: Stream


#: Reads what has to be listened to, by account. Raises `redis.RedisError`.
Watch = Callable[[], Mapping[str, WatchedAccount]]
#: Opens an account; nothing is sent yet. Raises for keys that are missing or no keys.
Connect = Callable[[str], Connections]
