"""How many wrong passwords an address may try."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

#: Wrong passwords within `WINDOW_S` after which an address has to wait.
MOST_FAILURES = 5
WINDOW_S = 60.0
#: Addresses remembered: those that tried longest ago are forgotten first.
MOST_ADDRESSES = 10_000


class LoginLimit:
    """Counts failures by address; IPv6 by its network, which one machine has to itself."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return how long an address has to wait before its next try, 0 for not at all."""
        failures = self._failures.get(_network(address), ())
        now_s = self._clock_s()
        recent = [at_s for at_s in failures if now_s - at_s < WINDOW_S]
        return WINDOW_S - (now_s - recent[0]) if len(recent) >= MOST_FAILURES else 0.0

    def failed(self, address: str) -> None:
        """Note a wrong password."""
        name = _network(address)
        self._failures.setdefault(name, deque(maxlen=MOST_FAILURES)).append(self._clock_s())
        self._failures.move_to_end(name)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget what an address got wrong before."""
        self._failures.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> 64)
    return str(parsed)
