"""What people get, in each language: complete, by key, and made from codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from string import Formatter

import pytest

from alerts.kinds import NATURES, Kind
from alerts.notices import Turn, notices_of
from alerts.phrases import LANGUAGES, Phrases, Words, read_texts, words
from alerts.sentences import REASONS, SIDES, cut_words
from alerts.watching import CONNECTING
from guard.silence import Reason, Silence
from market.orders import Side
from runner.limiting import cut_facts
from runner.receipt import OpenOrderSeen, Receipt, Result
from runner.receipt_reports import alert_text
from state.events import Event
from state.record import Phase
from state.stop_policy import StopPolicy
from state.stop_story import StopCause
from strategies.limits import Cut

ROOT = Path(__file__).parents[3]
NAME = "bp_sol_01"
CHINESE = Phrases("zh-TW")
ENGLISH = Phrases("en")


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def keys_in_use() -> Iterator[str]:
    """Yield the keys that the code asks for, with a star for what it puts in."""
    files = [*(ROOT / "alerts").glob("*.py"), ROOT / "cli" / "alerts.py", ROOT / "cli" / "daily_summary.py"]
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in ("say", "words"):
            continue
        key = node.args[0]
        for found in (key.body, key.orelse) if isinstance(key, ast.IfExp) else (key,):
            if isinstance(found, ast.JoinedStr):
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in found.values)
            elif isinstance(found, ast.Constant):
                yield str(found.value)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alert_has_its_words_in_every_language(language: str) -> None:
    texts, english = read_texts(language), read_texts("en")
    assert [*texts] == [*english]
    assert [key for key, text in texts.items() if not text.strip()] == []
    assert [key for key, text in texts.items() if not places(text) <= places(english[key])] == []
    needed = {
        *(f"kind.{kind}" for kind in Kind),
        *(f"over.{kind}" for kind in Kind if NATURES[kind].lasts),
        *(f"phase.{phase}" for phase in Phase),
        *(f"ends.{cause}" for cause in StopCause),
        *(f"guard.{reason}" for reason in Reason),
        *(f"side.{side}" for side in Side),
        *(f"stream.{standing}" for standing in CONNECTING),
    }
    assert sorted(needed - texts.keys()) == []


def test_every_text_is_used_and_every_key_is_there() -> None:
    texts, used = read_texts("en").keys(), set(keys_in_use())
    patterns = [re.compile(re.escape(key).replace(r"\*", ".+")) for key in used]
    assert sorted(key for key in used if "*" not in key and key not in texts) == []
    assert sorted(key for key in texts if not any(pattern.fullmatch(key) for pattern in patterns)) == []


def test_the_codes_that_are_read_are_those_that_are_written() -> None:
    assert set(Reason) == REASONS
    assert set(Side) == SIDES


def test_words_may_have_words_in_them() -> None:
    inner = words("side.buy")
    assert CHINESE.tell(words("title", subject="a", what=inner)) == f"a\uff1a{CHINESE.say('side.buy')}"
    assert ENGLISH.tell("somebody's own") == "somebody's own"


def receipt(result: Result, *, orders: int = 0, after: str | None = None, problem: str = "") -> Receipt:
    seen = tuple(
        OpenOrderSeen(order_id=f"o{n}", client_order_id=n, side="buy", price="1", remaining_quantity="1")
        for n in range(orders)
    )
    return Receipt(
        result=result,
        instance_id=NAME,
        epoch=3,
        account="a",
        symbol="SOL_USDC",
        slot=1,
        config_version="v",
        started_at_ms=1,
        updated_at_ms=2,
        asked=(),
        policy=StopPolicy(),
        in_flight=None,
        attempts=(),
        attempt_count=4,
        cancelled_order_ids=(),
        last_lists=(),
        orders_left=None if result is Result.UNVERIFIED else seen,
        fence_ms=0,
        had_unresolved=False,
        position_after=after,
        problem=problem,
    )


def event(name: str, **fields: str) -> Event:
    return Event(stream_id="5-0", event=name, instance_id=NAME, epoch=3, at_ms=1_000, fields=fields)


@pytest.mark.parametrize(
    "found",
    [
        receipt(Result.ORDERS_LEFT, orders=2, problem="the exchange refuses cancels"),
        receipt(Result.ORDERS_LEFT, orders=23),
        receipt(Result.POSITION_LEFT, after="-1.5"),
        receipt(Result.POSITION_LEFT),
        receipt(Result.UNVERIFIED, problem="Unavailable: no connection"),
        receipt(Result.CLEAN),
    ],
    ids=str,
)
def test_a_stop_is_told_by_its_receipt_as_the_runner_tells_it(found: Receipt) -> None:
    """In English word for word, so that the keys say what the receipt says; in Chinese with all its names."""
    says = alert_text(found)
    kind = "stop_clean_at_last" if found.is_clean else "stop_failed"
    (notice,) = (
        each
        for each in notices_of(
            [event("finished", outcome=found.model_dump_json()), event("alert", alert=kind, says=says)]
        )
        if each.turn is not Turn.VOID
    )
    assert isinstance(notice.text, Words)
    assert ENGLISH.tell(notice.text) == says
    chinese = CHINESE.tell(notice.text)
    assert not chinese.isascii()
    for part in (*(order.order_id for order in (found.orders_left or ())[:20]), found.problem):
        assert part in chinese


def test_without_a_receipt_in_front_an_alert_is_told_in_the_words_of_who_wrote_it() -> None:
    (notice,) = notices_of([event("alert", alert="stop_failed", says=f"{NAME}: look")])
    assert notice.text == "look"


CUTS = (
    Cut(
        limit="max_order_notional",
        side=Side.BUY,
        level=3,
        price=Decimal(149),
        wanted=Decimal(5),
        allowed=Decimal(1),
    ),
    Cut(limit="price_band_bps", side=Side.SELL, level=0, price=Decimal("1E+3"), wanted=Decimal("0.50")),
    Cut(limit="position_cap", side=Side.SELL, price=Decimal("149.20"), wanted=Decimal(2), allowed=Decimal(1)),
    Cut(limit="max_data_age_s", wanted=Decimal(2), detail="the book is 3.2 s old, 2.5 s are allowed"),
    Cut(limit="max_open_orders", wanted=Decimal(2)),
)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.limit)
def test_what_a_limit_cut_is_told_by_its_facts(cut: Cut) -> None:
    told = cut_words([cut.sentence()], [cut_facts(cut)])
    assert ENGLISH.tell(told) == cut.sentence()
    assert cut.limit in CHINESE.tell(told)
    assert not CHINESE.tell(told).isascii()


def test_cuts_without_facts_are_told_in_their_sentences() -> None:
    assert ENGLISH.tell(cut_words(["a", "b"], [])) == "a; b"
    assert ENGLISH.tell(cut_words(["a", "b"], [{"limit": "x"}])) == "a; b"
    assert ENGLISH.tell(cut_words(["a"], ["?"])) == "a"


@pytest.mark.parametrize("reason", Reason)
def test_what_a_guard_did_is_told_by_its_reason(reason: Reason) -> None:
    silence = Silence(lasts_s=30.4, reason=reason, queue="iterate")
    (notice,) = notices_of(
        [
            event(
                "guard_acted",
                cancelled="1,2",
                why=silence.why,
                silence=str(reason),
                silent_s="30",
                queue="iterate",
            )
        ]
    )
    assert ENGLISH.tell(notice.text) == f"the guard cancelled 2 orders: {silence.why}"
    assert "30" in CHINESE.tell(notice.text)
    assert silence.why not in CHINESE.tell(notice.text)


def test_a_record_that_is_damaged_is_told_with_what_is_wrong_with_it() -> None:
    *_, notice = notices_of(
        [
            event("stop_requested", by="state check", reason="phase is gone"),
            event("alert", alert="state_damaged", says=f"{NAME}: phase is gone; its orders are cleaned up"),
        ]
    )
    assert "phase is gone" in CHINESE.tell(notice.text)
    assert "cleaned up" not in CHINESE.tell(notice.text)
