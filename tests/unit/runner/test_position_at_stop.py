"""What a cleanup does about the position: which policy leads to what, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exchanges.registry import Venue
from runner import position_at_stop
from runner.context import Context
from runner.evidence import Evidence
from runner.loaded import StateUnreadable
from runner.place import Place
from runner.position_at_stop import PositionAtStop
from runner.receipt import Receipt, Result
from runner.receipt_reading import read_receipt
from runner.unwinding import Cleaner, TooLate
from state.stop_policy import StopPolicy
from tests.factories import instance_config, loaded_instance
from tests.fake_venue import FakeVenue, OneVenue
from tests.unit.runner.attempt_bench import NOW_MS, CleanupsVenue, lease

KEEP, CLOSE, UNWIND = StopPolicy(), StopPolicy(close_position=True), StopPolicy(unwind=True)
BOTH = StopPolicy(close_position=True, unwind=True)


class Bench:
    """Stands for those who send orders and count fills; what they do, a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: StopPolicy = KEEP) -> None:
        self.policy = policy
        #: What happened, in order.
        self.done: list[str] = []
        self.steps: list[tuple[str, str]] = []
        self.left = False
        self.settled = True
        self.unwound: tuple[Decimal, Decimal, bool] | Exception = (Decimal(3), Decimal(0), True)
        self.is_complete: bool | Exception = True
        self.completed: dict[str, Any] = {}
        self.refuses: Exception | None = None
        self.cleaner = cast("Cleaner", SimpleNamespace(renew=lambda: None, pause=lambda seconds: None))
        self.venue = FakeVenue()
        self.instance = loaded_instance()
        self.for_cleanups: OneVenue = CleanupsVenue(self.venue)
        self.context = cast(
            "Context",
            SimpleNamespace(
                cleanup_leases=SimpleNamespace(complete_books=self._complete),
                instances=SimpleNamespace(now_ms=lambda: NOW_MS),
                venues=self.for_cleanups,
            ),
        )
        self.evidence = Evidence(
            lease(policy=policy), by="test", tell=lambda step: self.steps.append((step.step, step.detail))
        )
        self.evidence.fence_ms = NOW_MS + 7
        self.evidence.cancelled = {"1": Decimal(2)}
        self.position = PositionAtStop(self.context, self.evidence, self.cleaner)
        monkeypatch.setattr(position_at_stop, "ClosingOrders", self._closing)
        monkeypatch.setattr(position_at_stop, "Flattener", self._flattener)
        monkeypatch.setattr(position_at_stop, "LastBooks", self._last_books)
        monkeypatch.setattr(position_at_stop, "Epilogue", lambda fence_ms: f"epilogue {fence_ms}")

    def place(self, *, unwinds: bool = False, problem: str = "") -> Place:
        """Return where the run is; with a problem, its configuration cannot be read."""
        strategy = replace(self.instance.strategy, unwinds_at_stop=unwinds)
        self.instance = replace(self.instance, strategy=strategy)
        return Place(
            config=instance_config(),
            instance=None if problem else self.instance,
            problem=problem,
            lease=self.evidence.lease,
        )

    def follow(self, **place: Any) -> bool:
        """Follow the policy."""
        return self.position.follow_policy(self.place(**place), self._venue())

    def complete(self) -> Receipt:
        """Complete the books of a stop that is over."""
        return self.position.complete_books(self.instance, self.evidence.receipt(Result.CLEAN, ""))

    def _venue(self) -> Venue:
        return self.venue

    def _closing(self, *about: Any) -> SimpleNamespace:
        assert about == (self.context, self.evidence.lease, self.instance, self.venue)
        self.done.append("closing orders")
        return SimpleNamespace(settled=self.settled)

    def _flattener(self, venue: Any, instrument: Any, closing: Any, *, renew: Any, pause: Any) -> Any:
        assert (venue, instrument) == (self.venue, self.venue.the_instrument)
        assert closing is not None
        assert (renew, pause) == (self.cleaner.renew, self.cleaner.pause)

        def close_position() -> tuple[str, str]:
            self.done.append("closed")
            return "5", "1" if self.left else "0"

        return SimpleNamespace(close_position=close_position, position_left=self.left)

    def _last_books(self, *about: Any) -> SimpleNamespace:
        *same, closing, cleaner = about
        assert same == [self.context, self.evidence.lease, self.instance, self.venue]
        assert closing is not None
        if self.refuses is not None:
            raise self.refuses
        self.done.append("books" if cleaner is self.cleaner else f"books, {cleaner}")
        profit = SimpleNamespace(net=Decimal(3))
        kept = SimpleNamespace(profit=profit, model_dump_json=lambda: f"net {profit.net}")

        def unwind() -> tuple[Decimal, Decimal, bool]:
            self.done.append("unwound")
            return cast("tuple[Decimal, Decimal, bool]", answer(self.unwound))

        def settle() -> bool:
            profit.net = Decimal(4)
            return bool(answer(self.is_complete))

        return SimpleNamespace(
            unwind=unwind,
            settle=settle,
            standing=SimpleNamespace(books=kept, intents={8: 9}),
            daily_json="daily",
            bookings=lambda: ["fills"],
            note_cancelled=lambda executed: self.done.append(f"cancelled {dict(executed)}"),
        )

    def _complete(self, held: object, **told: Any) -> bool:
        assert held is self.evidence.lease
        self.completed = told
        return True


def answer(said: Any) -> Any:
    """Return what a test has said, or raise it."""
    if isinstance(said, Exception):
        raise said
    return said


NOTED = {"1": Decimal(2)}
BOOKS_OPENED = ["closing orders", "books", f"cancelled {NOTED}"]


@pytest.mark.parametrize(
    ("policy", "unwinds", "done"),
    [
        (KEEP, False, []),
        (KEEP, True, [*BOOKS_OPENED, "unwound"]),
        (UNWIND, False, [*BOOKS_OPENED, "unwound"]),
        (CLOSE, False, ["closing orders", "closed"]),
        (CLOSE, True, [*BOOKS_OPENED, "unwound", "closed"]),
        (BOTH, False, [*BOOKS_OPENED, "unwound", "closed"]),
    ],
)
def test_policy_and_strategy_say_what_is_done(
    monkeypatch: pytest.MonkeyPatch, policy: StopPolicy, unwinds: bool, done: list[str]
) -> None:
    bench = Bench(monkeypatch, policy)
    assert bench.follow(unwinds=unwinds)
    assert bench.done == done
    assert bench.position.is_touched is (done != [])
    assert (bench.position.books is not None) is ("books" in done)
    assert bench.position.problem == ""


def test_what_was_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, CLOSE)
    assert bench.follow()
    assert bench.evidence.position == ("5", "0", "account")
    assert bench.steps == [("position", "5 -> 0")]
    assert [step.at_ms for step in bench.evidence.receipt(Result.CLEAN, "").attempts[-1].steps] == [NOW_MS]


def test_what_was_unwound_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, UNWIND)
    assert bench.follow()
    assert bench.evidence.position == ("3", "0", "run")
    assert bench.steps == [("unwound", "net of this run 3 -> 0")]


def test_a_position_that_is_left_is_not_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, CLOSE)
    bench.left = True
    assert not bench.follow()
    assert bench.evidence.position == ("5", "1", "account")


def test_what_could_not_be_unwound_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, UNWIND)
    bench.unwound = (Decimal(3), Decimal(2), False)
    assert not bench.follow()
    assert bench.position.problem == "2 of what the run opened could not be brought back yet"
    assert bench.steps == [("unwound", "net of this run 3 -> 2")]


@pytest.mark.parametrize("closes", [False, True])
def test_books_that_cannot_be_read_bring_nothing_back(monkeypatch: pytest.MonkeyPatch, closes: bool) -> None:
    bench = Bench(monkeypatch, BOTH if closes else UNWIND)
    bench.refuses = StateUnreadable("of a newer version" + "." * 300)
    # A position that is closed altogether is where it belongs, whatever the run opened of it.
    assert bench.follow() is closes
    assert bench.position.problem.startswith("what the run opened is not known: of a newer version..")
    assert bench.steps[0] == ("unwound", bench.position.problem[:200])
    assert bench.evidence.position == (("5", "0", "account") if closes else None)


@pytest.mark.parametrize("policy", [CLOSE, UNWIND])
def test_without_a_configuration_nothing_is_brought_back(
    monkeypatch: pytest.MonkeyPatch, policy: StopPolicy
) -> None:
    bench = Bench(monkeypatch, policy)
    assert not bench.follow(problem="of a newer version" + "." * 300)
    assert bench.position.problem.startswith("the position cannot be brought back: of a newer version..")
    assert bench.steps == [("unwound", bench.position.problem[:200])]
    assert (bench.done, bench.position.is_touched) == ([], False)


def test_where_nothing_is_to_be_brought_back_no_configuration_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch)
    assert bench.follow(problem="of a newer version")
    assert (bench.position.problem, bench.steps) == ("", [])


@pytest.mark.parametrize("settled", [False, True])
def test_it_is_settled_as_its_orders_are(monkeypatch: pytest.MonkeyPatch, settled: bool) -> None:
    bench = Bench(monkeypatch, CLOSE)
    bench.settled = settled
    assert bench.position.is_settled
    bench.follow()
    assert bench.position.is_settled is settled


@pytest.mark.parametrize(
    ("is_complete", "after"), [(True, "4"), (False, None), (TooLate("the last fills"), None)]
)
def test_books_of_a_stop_that_is_over_are_completed_from_what_is_known(
    monkeypatch: pytest.MonkeyPatch, is_complete: bool | Exception, after: str | None
) -> None:
    bench = Bench(monkeypatch)
    bench.is_complete = is_complete
    receipt = bench.complete()
    assert (receipt.position_before, receipt.position_after, receipt.position_of) == ("3", after, "left")
    assert bench.done == ["closing orders", f"books, epilogue {NOW_MS + 7}", BOOKS_OPENED[-1]]
    told = bench.completed
    fills, booked = told.pop("bookings")
    assert (fills, '"result":"clean"' in booked) == ("fills", True)
    assert read_receipt(told.pop("receipt_json")) == receipt
    assert told == {"books_json": "net 4", "daily_json": "daily", "intents": {8: 9}}


def test_its_last_fills_are_asked_of_the_orders_that_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, CLOSE)
    bench.follow()
    bench.complete()
    assert bench.done.count("closing orders") == 1


def test_the_outcome_stands_whatever_becomes_of_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.refuses = StateUnreadable("of a newer version")
    receipt = bench.complete()
    assert (receipt.result, receipt.position_of) == (Result.CLEAN, "")
    assert bench.completed == {}


def test_what_is_known_is_kept_when_counting_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.is_complete = ValueError("whatever")
    receipt = bench.complete()
    assert (receipt.position_before, receipt.position_after) == ("3", None)
    assert bench.completed["books_json"] == "net 4"
