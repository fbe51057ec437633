"""How long to wait before the next try: longer each time, up to a limit, and never the same for two feeds."""

from __future__ import annotations

import random

FIRST_S = 0.2
LONGEST_S = 5.0


class Backoff:
    """Capped exponential back-off with jitter: half of each wait is left to chance."""

    def __init__(
        self, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S, seed: int | None = None
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._random = random.Random(seed)
        self._tries = 0

    def next_s(self) -> float:
        """Return how long to wait now, seconds."""
        full_s = min(self._longest_s, self._first_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return full_s / 2 + self._random.uniform(0, full_s / 2)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._tries = 0
