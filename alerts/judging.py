"""From what happened and what is wrong to messages: which rules tell it, how often, and when.

Nothing here asks anything or waits; the memory that it is given is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from alerts.config import AlertsConfig, Rule
from alerts.kinds import Kind
from alerts.memory import Held, Level, Memory, Message, Window, key_of
from alerts.notices import Notice, Turn
from alerts.phrases import Phrases
from alerts.tales import MOST_SHOWN, Tale, clock, grouped, joined, texts
from alerts.watching import Look

#: More of the same at the same moment are told in one message.
JOINED_ABOVE = 3
#: Messages that wait for the end of quiet hours, for each target.
MOST_HELD = 200
SUCCESS = "success"
NEW_LINE = "\n"
#: Kinds that events begin; a look only finds those whose events were missed.
BY_EVENTS = frozenset({Kind.RISK_LIMIT})


class Judge:
    """One round: take in what is new, and `messages` says what is to be sent."""

    def __init__(self, config: AlertsConfig, memory: Memory, now_ms: int) -> None:
        self._config = config
        self._phrases = Phrases(config.language)
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
                        text=self._phrases.tell(notice.text),
                        since_ms=notice.at_ms,
                    )
                )
            elif notice.turn is Turn.ENDS:
                self._end(key, self._phrases.tell(notice.text))
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
                        text=self._phrases.tell(standing.text),
                        shown=self._phrases.tell(standing.shown or ""),
                        since_ms=standing.since_ms or look.now_ms,
                    )
                )
            elif key in self._memory.levels and standing.kind is Kind.NO_HEARTBEAT:
                # How long it has lasted when it is told.
                self._memory.levels[key].text = self._phrases.tell(standing.text)
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
                shown="",
                text=text,
                at_ms=self._now_ms,
            )
        )

    def settle(self) -> None:
        """Write the messages of all that was taken in, and of what waited for its time."""
        self._tell_levels()
        for group in grouped(self._tales):
            if len(group) > JOINED_ABOVE:
                self._limit(group[0], joined(group, self._phrases), subject="*")
            else:
                for tale in group:
                    self._limit(tale, texts(tale, self._phrases), subject=tale.subject)
        self._close_windows()
        self._end_quiet()

    def _tell_once(self, notice: Notice) -> None:
        for name, rule in self._config.rules_about(notice.kind, notice.instance):
            text = self._phrases.tell(notice.text)
            self._tell(notice, name, rule, shown=notice.subject, text=text, at_ms=notice.at_ms)

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
                over = text or self._phrases.say(f"over.{level.kind}")
                shown = level.shown or level.subject
                self._tell(level, name, rule, shown=shown, text=over, at_ms=self._now_ms, is_end=True)

    def _tell_levels(self) -> None:
        for level in self._memory.levels.values():
            for name, rule in self._config.rules_about(level.kind, level.instance):
                if name in level.told or self._now_ms - level.since_ms < rule.after_ms(level.kind):
                    continue
                level.told.append(name)
                shown = level.shown or level.subject
                self._tell(level, name, rule, shown=shown, text=level.text, at_ms=level.since_ms)

    def _tell(
        self,
        about: Notice | Level,
        name: str,
        rule: Rule,
        *,
        shown: str,
        text: str,
        at_ms: int,
        is_end: bool = False,
    ) -> None:
        self._tales.append(
            Tale(
                rule_name=name,
                rule=rule,
                kind=about.kind,
                subject=about.subject,
                shown=shown,
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
        text = (
            self._phrases.say("suppressed", count=window.suppressed - 1, time=f"{span_s:.0f}")
            if window.suppressed > 1
            else self._phrases.say("told_late")
        )
        message = window.last.model_copy(update={"body": f"{text}\n{window.last.body}"})
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
        lines = [
            self._phrases.say(
                "quiet.line",
                time=clock(each.at_ms),
                title=each.title,
                text=each.body.partition(NEW_LINE)[0],
            )
            for each in shown
        ]
        more = [self._phrases.say("quiet.more", count=left)] if left else []
        return Message(
            id=self._memory.next_id(self._now_ms),
            rule="quiet_hours",
            title=self._phrases.say("quiet.title", count=count),
            body="\n".join([*lines, *more]),
            looks="info",
            at_ms=self._now_ms,
        )


def local(at_ms: int, timezone: str) -> datetime:
    """Return a moment in a time zone."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))
