"""Things that rules tell, and how a title and a body put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from alerts.config import Rule
from alerts.kinds import Kind
from alerts.phrases import Phrases

#: Names and lines that a message about many things shows.
MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Tale:
    """One thing that one rule tells."""

    rule_name: str
    rule: Rule
    kind: Kind
    subject: str
    #: The subject as people read it.
    shown: str
    text: str
    at_ms: int
    epoch: int = 0
    is_end: bool = False


def grouped(tales: Sequence[Tale]) -> list[list[Tale]]:
    """Return what one rule tells of one kind together, in the order of the first of each."""
    groups: dict[tuple[str, Kind, bool], list[Tale]] = {}
    for tale in tales:
        groups.setdefault((tale.rule_name, tale.kind, tale.is_end), []).append(tale)
    return list(groups.values())


def texts(tale: Tale, phrases: Phrases) -> tuple[str, str]:
    """Return title and body of one thing."""
    if tale.kind is Kind.DAILY_SUMMARY:
        first, _, rest = tale.text.partition("\n")
        return first, rest
    when = clock(tale.at_ms)
    if tale.epoch:
        when = phrases.say("when.run", epoch=tale.epoch, time=when)
    return phrases.say("title", subject=tale.shown, what=_what(tale, phrases)), f"{tale.text}\n{when}"


def joined(group: Sequence[Tale], phrases: Phrases) -> tuple[str, str]:
    """Return title and body of many things of one kind."""
    lines = [phrases.say("line", subject=tale.shown, text=tale.text) for tale in group[:MOST_SHOWN]]
    if len(group) > len(lines):
        lines.append(phrases.say("more", count=len(group) - len(lines)))
    return phrases.say("title.many", count=len(group), what=_what(group[0], phrases)), "\n".join(lines)


def _what(tale: Tale, phrases: Phrases) -> str:
    what = phrases.say(f"kind.{tale.kind}")
    return phrases.say("title.over", what=what) if tale.is_end else what


def clock(at_ms: int) -> str:
    """Return a moment for people, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
