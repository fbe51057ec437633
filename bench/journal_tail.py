"""Follow the simulated exchange's journal while it is written, at no cost to the exchange."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market.orders import Role
from state.client_ids import decode, owns

Entry = Mapping[str, Any]

#: Between two looks into the file.
LOOK_S = 0.005


class JournalTail:
    """Reads on where it stopped. A line that is being written is left for the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def more(self) -> list[Entry]:
        """Return the entries that are new."""
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def until(self, found: Callable[[Sequence[Entry]], bool], timeout_s: float) -> list[Entry]:
        """Return what is new once `found` says yes to it, or all there is after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        seen: list[Entry] = []
        while not found(seen) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
            seen += self.more()
        return seen


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """What the exchange saw between a fill of a quote and the hedge. Times are the exchange's, µs."""

    filled_us: int
    accepted_us: int
    #: When the exchange answered the last question before the hedge; when it was asked nothing, `filled_us`.
    last_read_us: int
    #: What it answered the account meanwhile, hedge included.
    requests: tuple[str, ...]


def is_own(entry: Entry, event: str, *, slot: int, role: Role) -> bool:
    """Tell whether `entry` is `event` of an order in `slot` with this role."""
    client_id = entry.get("client_id")
    return entry["event"] == event and owns(slot, client_id) and decode(int(client_id or 0)).role is role


def reaction(entries: Sequence[Entry], *, slot: int, account: str) -> Reaction | None:
    """Return the first fill of a quote among `entries` with the hedge that followed; None without one."""
    filled_us = last_read_us = 0
    requests: list[str] = []
    for entry in entries:
        if not filled_us:
            if is_own(entry, "fill", slot=slot, role=Role.QUOTE):
                filled_us = last_read_us = int(entry["at_us"])
        elif is_own(entry, "order_accepted", slot=slot, role=Role.HEDGE):
            return Reaction(
                filled_us=filled_us,
                accepted_us=int(entry["at_us"]),
                last_read_us=last_read_us,
                requests=(*requests, "the hedge"),
            )
        elif entry["event"] == "request" and _asks(entry, account):
            last_read_us = int(entry["at_us"])
            requests.append(f"{entry['method']} {entry['path']}")
    return None


def _asks(entry: Entry, account: str) -> bool:
    """Tell whether the account asked this, or anybody a public question."""
    return entry["account"] in {account, None} and entry["path"].startswith(("/api/", "/wapi/"))


def tail_of(entries: Sequence[Entry], count: int = 12) -> str:
    """Return the last entries in words, for an error."""
    lines = [f"{each['event']} {each.get('side') or each.get('path') or ''}".strip() for each in entries]
    return ", ".join(lines[-count:]) or "nothing"
