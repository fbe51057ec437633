"""Lines of logs, as JSON or as columns: when, how grave, about which instance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: By rising gravity.
LEVELS = ("debug", "info", "warning", "error", "critical")
#: A line in columns: time, level, what happened, who says so, and the rest.
_COLUMNS = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT[\d:.]+Z) \[(?P<level>\w+) *\] (?P<event>.*?) +\[[^\]]*\] ?(?P<rest>.*)"
)
_BEGINS = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[")
#: Shown in columns of their own.
_OWN_COLUMNS = frozenset({"timestamp", "level", "event", "instance", "exception", "logger"})
#: Characters that would act on a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line that is about an instance."""

    #: ISO 8601, UTC; sorts as text.
    at: str
    level: str
    event: str
    #: The process that wrote it, by the name of its log file; empty: not known.
    source: str
    #: The rest.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Traceback, or lines that follow; empty: none.
    more: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the line for scripts."""
        value = {"at": self.at, "level": self.level, "process": self.source, "event": self.event}
        return value | {"fields": dict(self.fields), "traceback": self.more}

    def text(self) -> str:
        """Return the line for people."""
        said = " ".join(f"{name}={_shown(value)}" for name, value in self.fields.items())
        head = f"{self.at[:23]:<23}  {self.level:<8}  {self.source:<9}  {self.event}"
        lines = [f"{head}  {said}".rstrip(), *self.more.splitlines()]
        return "\n".join(_CONTROL.sub("?", line) for line in lines)


def lines_about(instance_id: str, lines: Iterable[str], *, source: str) -> Iterator[LogLine]:
    """Yield the lines of one process that are about an instance, with tracebacks that follow them."""
    open_line: LogLine | None = None
    for text in lines:
        if open_line is not None and not text.startswith("{") and not _BEGINS.match(text):
            open_line = _longer(open_line, text)
            continue
        if open_line is not None:
            yield open_line
            open_line = None
        # Most lines are about others: they are not parsed.
        found = parse(text, source=source) if instance_id in text else None
        if found is None or found[0] != instance_id:
            continue
        if text.startswith("{"):
            yield found[1]
        else:
            open_line = found[1]
    if open_line is not None:
        yield open_line


def parse(text: str, *, source: str) -> tuple[str, LogLine] | None:
    """Return which instance a line is about, and the line; None for one of neither form."""
    if text.startswith("{"):
        return _of_json(text, source)
    found = _COLUMNS.match(text)
    if found is None:
        return None
    rest = dict(re.findall(r"(\w+)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)", found["rest"]))
    instance = rest.pop("instance", "").strip("'\"")
    fields = {name: value.strip("'\"") for name, value in rest.items()}
    line = LogLine(
        at=found["at"], level=found["level"], event=found["event"].strip(), source=source, fields=fields
    )
    return instance, line


def _of_json(text: str, source: str) -> tuple[str, LogLine] | None:
    try:
        said = json.loads(text)
        line = LogLine(
            at=str(said["timestamp"]),
            level=str(said["level"]),
            event=str(said["event"]),
            source=source,
            fields={name: value for name, value in said.items() if name not in _OWN_COLUMNS},
            more=str(said.get("exception", "")),
        )
        return str(said.get("instance", "")), line
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # JSON of somebody else's


def _longer(line: LogLine, text: str) -> LogLine:
    more = f"{line.more}\n{text}" if line.more else text
    return LogLine(
        at=line.at, level=line.level, event=line.event, source=line.source, fields=line.fields, more=more
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
