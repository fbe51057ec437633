"""What has to outlive the process: what was read, what is known to be wrong, what was told how often."""

from __future__ import annotations

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alerts.kinds import Kind

log = structlog.get_logger(__name__)


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Message(_Model):
    """What one target gets at once."""

    #: The same when it is sent again after a crash: whoever gets it may tell so.
    id: str
    rule: str
    title: str
    body: str
    #: `info`, `warning`, `critical`, or `success` for the end of something.
    looks: str
    #: State server's time, ms.
    at_ms: int


class Level(_Model):
    """Something that is wrong, and lasts."""

    kind: Kind
    subject: str
    instance: str = ""
    epoch: int = 0
    #: In the language of when it began.
    text: str
    #: How a title names the subject; empty: by its own name.
    shown: str = ""
    since_ms: int
    #: Names of the rules that have told of it.
    told: list[str] = Field(default_factory=list)


class Window(_Model):
    """How often one kind was told about one instance by one rule of late."""

    started_ms: int
    told: int = 0
    suppressed: int = 0
    #: The newest that was suppressed.
    last: Message | None = None
    targets: list[str] = Field(default_factory=list)
    passes_quiet: bool = False


class Held(_Model):
    """What waits for the end of quiet hours."""

    messages: list[Message] = Field(default_factory=list)
    #: Messages beyond the most that are kept.
    dropped: int = 0


class Memory(_Model):
    """All of it."""

    #: Position in the stream of events; empty: nothing was read yet.
    cursor: str = ""
    #: Number of the newest message.
    number: int = 0
    had_feed: bool = False
    levels: dict[str, Level] = Field(default_factory=dict)
    windows: dict[str, Window] = Field(default_factory=dict)
    held: dict[str, Held] = Field(default_factory=dict)
    #: By rule, the local date of its newest daily summary.
    summaries: dict[str, str] = Field(default_factory=dict)
    #: Those that messages were written for.
    targets: list[str] = Field(default_factory=list)

    def next_id(self, now_ms: int) -> str:
        """Return an id for a message."""
        self.number += 1
        return f"{now_ms}-{self.number}"


def read_memory(text: str) -> Memory:
    """Return what was saved; a new memory where that is nothing, or damaged."""
    if not text:
        return Memory()
    try:
        return Memory.model_validate_json(text)
    except ValidationError:
        log.error("memory is damaged: what is wrong is told again, what happened meanwhile is not")
        return Memory()


def key_of(kind: Kind, subject: str) -> str:
    """Return the key of a level."""
    return f"{kind}|{subject}"
