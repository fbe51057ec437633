"""From what happened and what is wrong to messages: which rules tell it, how often, and when.

Nothing here asks anything or waits; the memory that it is given is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from alerts.config import AlertsConfig, Rule
from alerts.kinds import NATURES, Kind
from alerts.memory import Held, Level, Memory, Message, Window, key_of
from alerts.notices import Notice, Turn
from alerts.watching import Look

#: More of the same at the same moment are told in one message.
JOINED_ABOVE = 3
#: Names and lines that such a message shows.
MOST_SHOWN = 20
#: Messages that wait for the end of quiet hours, for each target.
MOST_HELD = 200
SUCCESS = "success"
NEW_LINE = "\n"
#: Kinds that events begin; a look only finds those whose events were missed.
BY_EVENTS = frozenset({Kind.RISK_LIMIT})


@dataclass(frozen=True, kw_only=True)
class Tale:
    """One thing that one rule tells."""

    rule_name: str
    rule: Rule
    kind: Kind
    subject: str
    text: str
    at_ms: int
    epoch: int = 0
    is_end: bool = False


class Judge:
    """One round: take in what is new, and `messages` says what is to be sent."""

    def __init__(self, config: AlertsConfig, memory: Memory, now_ms: int) -> None:
        self._config = config
        self._memory = memory
        self._now_ms = now_ms
        self._tales: list[Tale] = []
        #: Target and message.
        self.messages: list[tuple[str, Message]] = []

    def take_notices(self, notices: Iterable[Notice]) -> None:
        """Take in what events said."""
        for notice in notices:
            key = key_of(notice.kind, notice.subject)
            if notice.turn is Turn.ONCE:
                self._tell_once(notice)
            elif notice.turn is Turn.BEGINS:
                self._begin(
                    Level(
                        kind=notice.kind,
                        subject=notice.subject,
                        instance=notice.instance,
                        epoch=notice.epoch,
                        text=notice.text,
                        since_ms=notice.at_ms,
                    )
                )
            elif notice.turn is Turn.ENDS:
                self._end(key, notice.text)
            else:
                self._memory.levels.pop(key, None)

    def take_look(self, look: Look, touched: frozenset[str]) -> None:
        """Take in what is wrong now, except of instances whose events are newer or older than the look."""
        seen = {key_of(standing.kind, standing.subject): standing for standing in look.standings}
        for key, standing in seen.items():
            if key not in self._memory.levels and not standing.is_unsure and standing.instance not in touched:
                self._begin(
                    Level(
                        kind=standing.kind,
                        subject=standing.subject,
                        instance=standing.instance,
                        epoch=standing.epoch,
                        text=standing.text,
                        since_ms=standing.since_ms or look.now_ms,
                    )
                )
            elif key in self._memory.levels and standing.kind is Kind.NO_HEARTBEAT:
                # How long it has lasted when it is told.
                self._memory.levels[key].text = standing.text
        for key, level in list(self._memory.levels.items()):
            if key not in seen and level.instance not in touched and level.kind not in BY_EVENTS:
                self._end(key, "")
        self._memory.had_feed = look.had_feed

    def take_summary(self, rule_name: str, text: str) -> None:
        """Take in a daily summary."""
        rule = self._config.rules[rule_name]
        self._tales.append(
            Tale(
                rule_name=rule_name,
                rule=rule,
                kind=Kind.DAILY_SUMMARY,
                subject="",
                text=text,
                at_ms=self._now_ms,
            )
        )

    def settle(self) -> None:
        """Write the messages of all that was taken in, and of what waited for its time."""
        self._tell_levels()
        for group in _grouped(self._tales):
            if len(group) > JOINED_ABOVE:
                self._limit(group[0], _joined(group), subject="*")
            else:
                for tale in group:
                    self._limit(tale, _texts(tale), subject=tale.subject)
        self._close_windows()
        self._end_quiet()

    def _tell_once(self, notice: Notice) -> None:
        for name, rule in self._config.rules_about(notice.kind, notice.instance):
            self._tell(notice, name, rule, text=notice.text, at_ms=notice.at_ms)

    def _begin(self, level: Level) -> None:
        known = self._memory.levels.get(key_of(level.kind, level.subject))
        if known is None:
            self._memory.levels[key_of(level.kind, level.subject)] = level
        else:
            known.text, known.epoch = level.text, level.epoch

    def _end(self, key: str, text: str) -> None:
        level = self._memory.levels.pop(key, None)
        if level is None:
            return
        for name in level.told:
            rule = self._config.rules.get(name)
            if rule and rule.recovery:
                over = text or NATURES[level.kind].over
                self._tell(level, name, rule, text=over, at_ms=self._now_ms, is_end=True)

    def _tell_levels(self) -> None:
        for level in self._memory.levels.values():
            for name, rule in self._config.rules_about(level.kind, level.instance):
                if name in level.told or self._now_ms - level.since_ms < rule.after_ms(level.kind):
                    continue
                level.told.append(name)
                self._tell(level, name, rule, text=level.text, at_ms=level.since_ms)

    def _tell(
        self, about: Notice | Level, name: str, rule: Rule, *, text: str, at_ms: int, is_end: bool = False
    ) -> None:
        self._tales.append(
            Tale(
                rule_name=name,
                rule=rule,
                kind=about.kind,
                subject=about.subject,
                text=text,
                at_ms=at_ms,
                epoch=about.epoch,
                is_end=is_end,
            )
        )

    def _limit(self, tale: Tale, texts: tuple[str, str], *, subject: str) -> None:
        """Tell something, unless the rule has told enough of it of late."""
        rule, key = tale.rule, f"{tale.rule_name}|{tale.kind}|{subject}"
        window = self._memory.windows.get(key)
        if window is None or self._now_ms - window.started_ms >= rule.per_s * 1000:
            if window is not None:
                self._close(window)
            window = self._memory.windows[key] = Window(started_ms=self._now_ms)
        message = Message(
            id=self._memory.next_id(self._now_ms),
            rule=tale.rule_name,
            title=texts[0],
            body=texts[1],
            looks=SUCCESS if tale.is_end else rule.severity_of(tale.kind),
            at_ms=self._now_ms,
        )
        window.targets, window.passes_quiet = list(rule.targets), rule.passes_quiet(tale.kind)
        if window.told < rule.at_most:
            window.told += 1
            self._route(message, window.targets, passes_quiet=window.passes_quiet)
        else:
            window.suppressed += 1
            window.last = message

    def _close_windows(self) -> None:
        for key, window in list(self._memory.windows.items()):
            rule = self._config.rules.get(key.partition("|")[0])
            if rule is None or self._now_ms - window.started_ms >= rule.per_s * 1000:
                del self._memory.windows[key]
                self._close(window)

    def _close(self, window: Window) -> None:
        """Tell the newest of what was suppressed: it says how things stand."""
        if window.last is None:
            return
        span_s = (self._now_ms - window.started_ms) / 1000
        more = f"{window.suppressed - 1} more suppressed in {span_s:.0f} s; this is the newest.\n"
        text = more if window.suppressed > 1 else "Told late, since much of this kind was told.\n"
        message = window.last.model_copy(update={"body": text + window.last.body})
        self._route(message, window.targets, passes_quiet=window.passes_quiet)

    def _route(self, message: Message, targets: Sequence[str], *, passes_quiet: bool) -> None:
        is_held = self._is_quiet() and not passes_quiet
        for target in targets:
            if target not in self._config.targets:
                continue
            if not is_held:
                self.messages.append((target, message))
                continue
            held = self._memory.held.setdefault(target, Held())
            held.messages.append(message)
            if len(held.messages) > MOST_HELD:
                held.messages.pop(0)
                held.dropped += 1

    def _is_quiet(self) -> bool:
        hours = self._config.quiet_hours
        return hours is not None and hours.hold(local(self._now_ms, self._config.timezone).time())

    def _end_quiet(self) -> None:
        if self._is_quiet():
            return
        for target, held in self._memory.held.items():
            if target in self._config.targets and held.messages:
                self.messages.append((target, self._digest(held)))
        self._memory.held.clear()

    def _digest(self, held: Held) -> Message:
        if len(held.messages) == 1 and not held.dropped:
            return held.messages[0]
        count = len(held.messages) + held.dropped
        shown = held.messages[-MOST_SHOWN:]
        left = count - len(shown)
        lines = [f"{clock(each.at_ms)} {each.title}: {each.body.partition(NEW_LINE)[0]}" for each in shown]
        more = [f"and {left} more before these"] if left else []
        return Message(
            id=self._memory.next_id(self._now_ms),
            rule="quiet_hours",
            title=f"{count} messages of the quiet hours",
            body="\n".join([*lines, *more]),
            looks="info",
            at_ms=self._now_ms,
        )


def _grouped(tales: Sequence[Tale]) -> list[list[Tale]]:
    groups: dict[tuple[str, Kind, bool], list[Tale]] = {}
    for tale in tales:
        groups.setdefault((tale.rule_name, tale.kind, tale.is_end), []).append(tale)
    return list(groups.values())


def _texts(tale: Tale) -> tuple[str, str]:
    """Return title and body of one thing."""
    what = str(tale.kind).replace("_", " ")
    if tale.kind is Kind.DAILY_SUMMARY:
        first, _, rest = tale.text.partition("\n")
        return first, rest
    over = ", over" if tale.is_end else ""
    run = f"run {tale.epoch}, " if tale.epoch else ""
    return f"{tale.subject}: {what}{over}", f"{tale.text}\n{run}{clock(tale.at_ms)}"


def _joined(group: Sequence[Tale]) -> tuple[str, str]:
    """Return title and body of many things of one kind."""
    first = group[0]
    what = str(first.kind).replace("_", " ") + (", over" if first.is_end else "")
    lines = [f"{tale.subject}: {tale.text}" for tale in group[:MOST_SHOWN]]
    left = len(group) - len(lines)
    return f"{len(group)} times: {what}", "\n".join([*lines, *([f"and {left} more"] if left else [])])


def local(at_ms: int, timezone: str) -> datetime:
    """Return a moment in a time zone."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))


def clock(at_ms: int) -> str:
    """Return a moment for people, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
