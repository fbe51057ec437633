"""What a crash test leaves behind, as values: orders, runs, iterations, rounds and fills."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.database import open_ledger
from ledger.receipts import ReceiptRecord, receipts
from tests.chaos.recorder import EVENTS_FILE, TRACE_FILE
from tests.soak.audit import read_journal
from tests.soak.ledger_story import FillFacts, facts, told, witness

ROUNDS_FILE = "rounds.jsonl"
META_FILE = "meta.json"
FILLS_FILE = "fills.jsonl"
RECEIPTS_FILE = "receipts.jsonl"
OWN_ACCOUNT = "demo"
ENDINGS = frozenset({"order_cancelled", "order_expired"})

Entry = Mapping[str, Any]


@dataclass(kw_only=True)
class Order:
    """An order that the exchange accepted, by its journal."""

    order_id: str
    account: str
    symbol: str
    client_id: int | None
    accepted_at_ms: int
    signed_at_ms: int
    #: Line in the journal.
    number: int
    is_system: bool
    ended_at_ms: int | None = None
    #: How it ended: the journal's event, ``filled`` for one that was executed.
    ending: str = ""
    end_number: int = 0
    modified: int = 0

    @property
    def slot(self) -> int | None:
        """Return the instance slot of its client order id."""
        return None if self.client_id is None else self.client_id >> 20


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """How an attempt to stop a run ended."""

    at_ms: int
    result: str
    is_clean: bool


@dataclass(frozen=True, kw_only=True)
class KeptReceipt:
    """What the ledger keeps of a stop, as of its last attempt."""

    instance_id: str
    epoch: int
    result: str
    updated_at_ms: int
    #: Until then a request of the run could have been accepted, 0: none was open.
    fence_ms: int
    #: The last lists of own orders: when each was read, and how many orders it had.
    lists: Sequence[tuple[int, int]]


@dataclass(kw_only=True)
class Run:
    """One start-to-stop of an instance."""

    instance_id: str
    epoch: int
    started_at_ms: int
    stop_requested_at_ms: int | None = None
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def clean_at_ms(self) -> int | None:
        """Return the time of its first clean receipt."""
        return next((receipt.at_ms for receipt in self.receipts if receipt.is_clean), None)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A claim or a commit."""

    kind: str
    instance_id: str
    epoch: int
    seq: int
    token: str
    at_ms: int
    failed: bool


@dataclass(frozen=True, kw_only=True)
class FaultTime:
    """When a fault was in force."""

    name: str
    detail: str
    begun_at_ms: int
    ended_at_ms: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """Some faults together, and the recovery after them."""

    number: int
    #: Its row in the table: the fault's name, or `MIXED`.
    row: str
    faults: Sequence[FaultTime]
    begun_at_ms: int
    #: When the last fault was over.
    ended_at_ms: int
    #: Runnable processes of the machine (1 minute) when the faults ended.
    load: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the auditor judges."""

    lease_ms: int
    #: By slot.
    names: Mapping[int, str]
    journal: Sequence[Entry]
    runs: Sequence[Run]
    steps: Sequence[Step]
    rounds: Sequence[Round]
    #: What the ledger says, when everything had settled; None: the run was cut short before that.
    ledger_fills: Sequence[FillFacts] | None
    #: Likewise.
    ledger_receipts: Sequence[KeptReceipt] | None
    #: Until when anything was recorded.
    until_ms: int

    def orders(self) -> dict[str, Order]:
        """Return every order of the journal by its id."""
        return orders_of(self.journal)


def orders_of(journal: Iterable[Entry]) -> dict[str, Order]:
    """Return every order of a journal by its id."""
    found: dict[str, Order] = {}
    for entry in journal:
        event = entry["event"]
        if event == "order_accepted":
            found[entry["order_id"]] = Order(
                order_id=entry["order_id"],
                account=entry["account"],
                symbol=entry["symbol"],
                client_id=entry["client_id"],
                accepted_at_ms=entry["at_ms"],
                signed_at_ms=entry["signed_at_ms"],
                number=entry["n"],
                is_system=bool(entry.get("system")),
            )
        elif event in ENDINGS or (event == "fill" and entry["status"] == "Filled"):
            order = found[entry["order_id"]]
            order.ended_at_ms, order.end_number = entry["at_ms"], entry["n"]
            order.ending = "filled" if event == "fill" else event
        elif event == "order_modified":
            found[entry["order_id"]].modified += 1
    return found


class RunBook:
    """Follows lifecycle events, one after the other, and knows every run that they tell of."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], Run] = {}

    @property
    def runs(self) -> list[Run]:
        """Return the runs, oldest first."""
        return sorted(self._runs.values(), key=lambda run: run.started_at_ms)

    def see(self, event: Entry) -> None:
        """Follow an event."""
        kind = event["event"]
        if kind not in {"started", "stop_requested", "finished"}:
            return
        key, at_ms = (event["instance"], int(event["epoch"])), int(event["at_ms"])
        if kind == "started":
            self._runs[key] = Run(instance_id=key[0], epoch=key[1], started_at_ms=at_ms)
            return
        run = self._runs.get(key)
        if run is None:
            return
        if kind == "stop_requested":
            run.stop_requested_at_ms = at_ms if run.stop_requested_at_ms is None else run.stop_requested_at_ms
            return
        receipt = json.loads(event["outcome"])
        clean = receipt["result"] == "clean" and event["result"] == "stopped"
        own_ms = min(at_ms, receipt["updated_at_ms"])
        run.receipts.append(Receipt(at_ms=own_ms, result=event["result"], is_clean=clean))


def runs_of(events: Iterable[Entry]) -> list[Run]:
    """Return every run that the lifecycle events tell of, oldest first."""
    book = RunBook()
    for event in events:
        book.see(event)
    return book.runs


def steps_of(trace: Iterable[Entry]) -> list[Step]:
    """Return claims and commits in the order in which they happened."""
    return [
        Step(
            kind=entry["event"],
            instance_id=entry["instance"],
            epoch=int(entry["epoch"]),
            seq=int(entry["seq"]),
            token=entry["token"],
            at_ms=int(entry["at_ms"]),
            failed=entry.get("failed") == "1",
        )
        for entry in trace
        if entry["event"] in {"claimed", "committed"}
    ]


def save_ledger(ledger_url: str, folder: Path) -> int:
    """Write down which fills and receipts the ledger has; return how many fills."""
    with open_ledger(ledger_url) as ledger:
        fills = [[str(value) for value in facts(row)] for row in told(ledger).fills]
        kept = [asdict(_kept(record)) for record in receipts(ledger)]
    for name, rows in ((FILLS_FILE, fills), (RECEIPTS_FILE, kept)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
    return len(fills)


def _kept(record: ReceiptRecord) -> KeptReceipt:
    content = record.content
    return KeptReceipt(
        instance_id=record.instance_id,
        epoch=record.epoch,
        result=record.result,
        updated_at_ms=record.updated_at_ms,
        fence_ms=content["fence_ms"],
        lists=[(each["at_ms"], len(each["own_orders"])) for each in content["last_lists"]],
    )


def load_evidence(folder: Path) -> Evidence:
    """Read what a run has left in `folder`."""
    meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
    fills, kept = folder / FILLS_FILE, folder / RECEIPTS_FILE
    return Evidence(
        lease_ms=meta["lease_ms"],
        names={int(slot): name for slot, name in meta["names"].items()},
        journal=read_journal(folder / "journal.jsonl"),
        runs=runs_of(_lines(folder / EVENTS_FILE)),
        steps=steps_of(_lines(folder / TRACE_FILE)),
        rounds=[_round(line) for line in _lines(folder / ROUNDS_FILE)],
        ledger_fills=[_fill(line) for line in _lines(fills)] if fills.exists() else None,
        ledger_receipts=[KeptReceipt(**each) for each in _lines(kept)] if kept.exists() else None,
        until_ms=meta["until_ms"],
    )


def journal_fills(journal: Iterable[Entry]) -> list[FillFacts]:
    """Return the own account's fills by the journal."""
    return witness(journal, OWN_ACCOUNT).fills


def own_orders(orders: Iterable[Order], names: Mapping[int, str]) -> dict[str, list[Order]]:
    """Return the orders of each instance, told by account and slot."""
    found: defaultdict[str, list[Order]] = defaultdict(list)
    for order in orders:
        name = names.get(order.slot or 0)
        if name is not None and order.account == OWN_ACCOUNT:
            found[name].append(order)
    return found


def _round(line: Entry) -> Round:
    return Round(**{**line, "faults": [FaultTime(**each) for each in line["faults"]]})


def _fill(values: Any) -> FillFacts:
    trade_id, order_id, symbol, side, price, quantity, fee, fee_asset, is_maker = values
    return FillFacts(
        trade_id=trade_id,
        order_id=order_id,
        symbol=symbol,
        side=side,
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(fee),
        fee_asset=fee_asset,
        is_maker=is_maker == "True",
    )


def _lines(path: Path) -> list[Any]:
    """Return the JSON of each whole line."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
