"""Which instances have to look for themselves because the streams of their symbol have gone silent."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from feed.watched import WatchedInstance

#: Every symbol is heard about once a second (its ticker), so less is no silence.
LEAST_SILENCE_S = 2.0


class Silence:
    """Tells the moment a symbol goes silent for an instance, and the moment it is heard again. No clock.

    Two threads: one hears, the other notices that nothing is heard, also while the first one reconnects.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By symbol: when it was heard last, monotonic seconds.
        self._heard_s: dict[str, float] = {}
        #: Instances that were told of a silence, to their symbol.
        self._silent: dict[str, str] = {}

    def watch(self, symbols: Iterable[str], now_s: float) -> None:
        """Follow exactly these symbols; a new one counts as heard now."""
        with self._lock:
            self._heard_s = {symbol: self._heard_s.get(symbol, now_s) for symbol in symbols}
            self._silent = {name: symbol for name, symbol in self._silent.items() if symbol in self._heard_s}

    def heard(self, symbol: str, now_s: float) -> tuple[str, ...]:
        """Note a message about a symbol; return the instances for which its silence is over."""
        with self._lock:
            if symbol in self._heard_s:
                self._heard_s[symbol] = now_s
            back = tuple(name for name, silent in self._silent.items() if silent == symbol)
            for name in back:
                del self._silent[name]
        return back

    def begun(self, instances: Iterable[WatchedInstance], now_s: float) -> tuple[str, ...]:
        """Return the instances whose symbol has been silent for longer than they allow, each once."""
        found = []
        with self._lock:
            for each in instances:
                heard_s = self._heard_s.get(each.symbol)
                if not each.is_running or each.max_silence_s is None or heard_s is None:
                    continue
                allowed_s = max(each.max_silence_s, LEAST_SILENCE_S)
                if each.instance_id not in self._silent and now_s - heard_s > allowed_s:
                    self._silent[each.instance_id] = each.symbol
                    found.append(each.instance_id)
        return tuple(found)
