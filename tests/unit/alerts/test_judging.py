"""Rules, rates, quiet hours and recoveries, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.config import AlertsConfig
from alerts.judging import Judge
from alerts.kinds import Kind
from alerts.memory import Memory, Message
from alerts.notices import Notice, Turn
from alerts.watching import Look, Standing

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
NIGHT_MS = int(datetime(2026, 3, 1, 23, 30, tzinfo=UTC).timestamp() * 1000)
MORNING_MS = int(datetime(2026, 3, 2, 7, 0, tzinfo=UTC).timestamp() * 1000)
NIGHTS = {"from": "23:00", "until": "07:00"}


class Rounds:
    """Rounds of a judge over one memory, which goes through JSON in between as between processes."""

    def __init__(
        self, quiet_hours: dict[str, str] | None = None, *, language: str = "en", **rule: Any
    ) -> None:
        self.config = AlertsConfig.model_validate(
            {
                "language": language,
                "quiet_hours": quiet_hours,
                "targets": {"a": {"url": "json://a"}, "b": {"url": "json://b"}},
                "rules": {"all": {"on": list(Kind), "targets": ["a"], **rule}},
            }
        )
        self.memory = Memory()
        self.now_ms = NOON_MS

    def go(
        self,
        *notices: Notice,
        later_s: float = 1,
        standings: tuple[Standing, ...] | None = None,
        touched: frozenset[str] = frozenset(),
    ) -> list[Message]:
        self.now_ms += int(later_s * 1000)
        judge = Judge(self.config, self.memory, self.now_ms)
        judge.take_notices(notices)
        if standings is not None:
            judge.take_look(Look(now_ms=self.now_ms, standings=standings), touched)
        judge.settle()
        self.memory = Memory.model_validate_json(self.memory.model_dump_json())
        assert {target for target, _ in judge.messages} <= {"a"}
        return [message for _, message in judge.messages]

    def titles(self, *notices: Notice, **more: Any) -> list[str]:
        return [message.title for message in self.go(*notices, **more)]


def failed(name: str = "bp_sol_01", turn: Turn = Turn.BEGINS, kind: Kind = Kind.STOP_NOT_CLEAN) -> Notice:
    return Notice(kind=kind, turn=turn, subject=name, instance=name, epoch=3, text="2 orders", at_ms=NOON_MS)


def standing(name: str = "bp_sol_01", kind: Kind = Kind.NO_HEARTBEAT, since_ms: int = 0) -> Standing:
    return Standing(kind=kind, subject=name, instance=name, epoch=3, text="quiet", since_ms=since_ms)


def test_what_lasts_is_told_once_and_its_end_too() -> None:
    rounds = Rounds()
    (begin,) = rounds.go(failed())
    assert (begin.title, begin.looks) == ("bp_sol_01: stop not clean", "critical")
    assert begin.body == "2 orders\nrun 3, 2026-03-01 12:00:00 UTC"
    assert rounds.go(failed()) == []
    (end,) = rounds.go(replace(failed(turn=Turn.ENDS), text="clean after 4 attempts"))
    assert (end.title, end.looks) == ("bp_sol_01: stop not clean, over", "success")
    assert end.body.startswith("clean after 4 attempts\n")
    assert rounds.go(failed(turn=Turn.ENDS)) == []


def test_without_recovery_the_end_is_not_told() -> None:
    rounds = Rounds(recovery=False)
    assert len(rounds.go(failed())) == 1
    assert rounds.go(failed(turn=Turn.ENDS)) == []
    assert rounds.titles(failed()) == ["bp_sol_01: stop not clean"]


def test_what_has_not_lasted_long_enough_is_not_told_nor_its_end() -> None:
    rounds = Rounds(after_s=30)
    assert rounds.go(standings=(standing(),)) == []
    assert rounds.go(standings=(), later_s=20) == []
    assert rounds.go(standings=(standing(),)) == []
    assert rounds.go(standings=(standing(),), later_s=29) == []
    assert rounds.titles(standings=(standing(),)) == ["bp_sol_01: no heartbeat"]
    assert rounds.titles(standings=()) == ["bp_sol_01: no heartbeat, over"]


def test_a_look_older_or_newer_than_an_event_does_not_contradict_it() -> None:
    rounds = Rounds()
    rounds.go(failed(), standings=(), touched=frozenset({"bp_sol_01"}))
    unclean = (standing(kind=Kind.STOP_NOT_CLEAN),)
    over = rounds.titles(failed(turn=Turn.ENDS), standings=unclean, touched=frozenset({"bp_sol_01"}))
    assert over == ["bp_sol_01: stop not clean, over"]
    assert rounds.go(standings=()) == []


def test_a_failed_stop_whose_event_was_missed_is_told_from_the_record() -> None:
    assert Rounds().titles(standings=(standing(kind=Kind.STOP_NOT_CLEAN),)) == ["bp_sol_01: stop not clean"]


def test_what_is_too_young_to_count_keeps_what_was_told() -> None:
    rounds = Rounds()
    unsure = replace(standing(), is_unsure=True)
    assert rounds.go(standings=(unsure,)) == []
    assert not rounds.memory.levels
    old = standing(since_ms=rounds.now_ms - 60_000)
    assert len(rounds.go(standings=(old,))) == 1
    assert rounds.go(standings=(unsure,)) == []
    assert rounds.memory.levels


def test_too_much_of_a_kind_is_counted_and_the_newest_told_in_the_end() -> None:
    rounds = Rounds(at_most=2, per_s=60)
    told = [len(rounds.go(failed(kind=Kind.RUN_ENDED, turn=Turn.ONCE), later_s=1)) for _ in range(6)]
    assert told == [1, 1, 0, 0, 0, 0]
    assert rounds.titles(failed(name="other", kind=Kind.RUN_ENDED, turn=Turn.ONCE)) == ["other: run ended"]
    (late,) = rounds.go(later_s=60)
    assert late.body.startswith("3 more suppressed in 66 s; this is the newest.\n2 orders")
    assert rounds.go(later_s=60) == []


def test_one_kind_does_not_use_up_the_rate_of_another() -> None:
    rounds = Rounds(at_most=1)
    rounds.go(failed(kind=Kind.RUN_ENDED, turn=Turn.ONCE))
    assert rounds.go(failed(kind=Kind.RUN_ENDED, turn=Turn.ONCE)) == []
    assert rounds.titles(failed()) == ["bp_sol_01: stop not clean"]


def test_many_at_once_are_one_message() -> None:
    rounds = Rounds()
    (message,) = rounds.go(*(failed(f"i{number}") for number in range(50)))
    assert message.title == "50 times: stop not clean"
    assert message.body.splitlines()[0] == "i0: 2 orders"
    assert message.body.splitlines()[-1] == "and 30 more"
    assert rounds.titles(*(failed(f"i{number}", turn=Turn.ENDS) for number in range(50))) == [
        "50 times: stop not clean, over"
    ]


def test_quiet_hours_hold_what_is_not_critical_and_tell_it_at_their_end() -> None:
    rounds = Rounds(quiet_hours=NIGHTS)
    rounds.now_ms = NIGHT_MS
    assert rounds.titles(failed()) == ["bp_sol_01: stop not clean"]
    assert rounds.go(failed(kind=Kind.RISK_LIMIT)) == []
    assert rounds.go(failed(kind=Kind.RISK_LIMIT, turn=Turn.ENDS)) == []
    rounds.now_ms = MORNING_MS - 2_000
    assert rounds.go() == []
    (digest,) = rounds.go()
    assert digest.title == "2 messages of the quiet hours"
    assert digest.body.splitlines() == [
        "2026-03-01 23:30:02 UTC bp_sol_01: risk limit: 2 orders",
        "2026-03-01 23:30:03 UTC bp_sol_01: risk limit, over: 2 orders",
    ]
    assert rounds.go() == []


@pytest.mark.parametrize(("quiet", "told"), [("pass", 1), ("hold", 0)])
def test_a_rule_may_decide_about_quiet_hours(quiet: str, told: int) -> None:
    rounds = Rounds(quiet_hours=NIGHTS, quiet=quiet)
    rounds.now_ms = NIGHT_MS
    assert len(rounds.go(failed(kind=Kind.RISK_LIMIT))) == told
    assert len(rounds.go(failed())) == told


def test_quiet_hours_are_those_of_the_time_zone() -> None:
    rounds = Rounds(quiet_hours=NIGHTS)
    rounds.config = rounds.config.model_copy(update={"timezone": "Asia/Taipei"})
    # Noon UTC is 20:00 in Taipei; 16:00 UTC is midnight there.
    assert len(rounds.go(failed(kind=Kind.RUN_ENDED, turn=Turn.ONCE))) == 1
    assert rounds.go(failed("b", kind=Kind.RUN_ENDED, turn=Turn.ONCE), later_s=4 * 3600) == []


def test_what_held_messages_are_kept_is_bounded_and_counted() -> None:
    rounds = Rounds(quiet_hours=NIGHTS, at_most=100)
    rounds.now_ms = NIGHT_MS
    for number in range(205):
        rounds.go(failed(f"i{number}", kind=Kind.RUN_ENDED, turn=Turn.ONCE))
    rounds.now_ms = MORNING_MS
    (digest,) = rounds.go()
    assert digest.title == "205 messages of the quiet hours"
    assert digest.body.splitlines()[-1] == "and 185 more before these"


def test_every_message_has_an_id_of_its_own() -> None:
    rounds = Rounds()
    ids = [message.id for number in range(5) for message in rounds.go(failed(f"i{number}"))]
    assert len(set(ids)) == 5


def test_everything_is_told_in_the_language_of_the_file_and_counted_alike() -> None:
    """Titles, ends, many at once, what was suppressed, quiet hours: rates and levels are those of English."""
    told: dict[str, list[Message]] = {}
    for language in ("en", "zh-TW"):
        rounds = Rounds(NIGHTS, language=language, at_most=1, per_s=60, quiet="hold")
        found = rounds.go(failed(), standings=(standing(kind=Kind.FEED_DOWN),))
        found += rounds.go(replace(failed(turn=Turn.ENDS), text=""))
        found += rounds.go(*(failed(f"a_{n}") for n in range(25)))
        found += rounds.go(failed(turn=Turn.ONCE, kind=Kind.RUN_ENDED))
        found += rounds.go(failed(turn=Turn.ONCE, kind=Kind.RUN_ENDED), later_s=1)
        found += rounds.go(failed(turn=Turn.ONCE, kind=Kind.RUN_ENDED), later_s=1)
        found += rounds.go(standings=(), later_s=120)
        rounds.now_ms = NIGHT_MS
        found += rounds.go(*(failed(f"b_{n}", turn=Turn.ONCE, kind=Kind.LOSS_LIMIT) for n in range(2)))
        rounds.now_ms = MORNING_MS
        told[language] = found + rounds.go(standings=())
    english, chinese = told["en"], told["zh-TW"]
    assert [each.model_dump(exclude={"title", "body"}) for each in english] == [
        each.model_dump(exclude={"title", "body"}) for each in chinese
    ]
    assert len(english) >= 5
    assert all(
        not each.title.isascii() and each.title != other.title
        for each, other in zip(chinese, english, strict=True)
    )
    bodies = "\n".join(each.body for each in chinese)
    assert not [word for word in ("run 3", "more", "Told late", "suppressed", "over") if word in bodies]
