"""The file of rules, `config/alerts.toml`: read, checked, every mistake told at once.

A target's URL may hold a token. It is never shown: not in an error, not in a log, not by `repr`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from alerts.kinds import NATURES, Kind, Severity
from alerts.phrases import ENGLISH, LANGUAGES

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
#: Characters of a value that an error shows.
_SHOWN = 80


class AlertsConfigError(Exception):
    """Raised when the file of rules cannot be used; lists everything that is wrong with it."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {problem}" for problem in problems)]))


def _clock(value: object) -> time:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a time of day like "23:00", from "00:00" to "23:59"')
    return time(int(found[1]), int(found[2]))


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):
        # OSError: no such zone, or a name that is a directory.
        raise ValueError('must be a time zone like "UTC" or "Asia/Taipei"') from None
    except KeyError:
        raise ValueError('must be a time zone like "UTC" or "Asia/Taipei"') from None
    return name


def _language(value: object) -> str:
    for language in LANGUAGES:
        if isinstance(value, str) and value.replace("_", "-").lower() == language.lower():
            return language
    raise ValueError(f"must be one of {', '.join(LANGUAGES)}")


Clock = Annotated[time, BeforeValidator(_clock)]
Name = Annotated[str, Field(pattern=_NAME)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuietHours(_Model):
    """When only what is critical is told at once; the rest is told together at the end."""

    from_: Clock = Field(alias="from")
    until: Clock

    def hold(self, moment: time) -> bool:
        """Tell whether a time of day is within; `until` is not."""
        if self.from_ <= self.until:
            return self.from_ <= moment < self.until
        return moment >= self.from_ or moment < self.until


class Target(_Model):
    """Where messages go."""

    #: As apprise understands it, with `${VARIABLE}` already replaced.
    url: str = Field(min_length=1, repr=False)
    #: A sending that takes longer has failed, s.
    timeout_s: float = Field(default=10.0, ge=1, le=60)
    #: A message that could not be delivered for so long is given up, s.
    give_up_after_s: float = Field(default=3600.0, ge=10, le=86_400)


class Rule(_Model):
    """What is told, to whom, how often."""

    on: tuple[Kind, ...] = Field(min_length=1)
    targets: tuple[Name, ...] = Field(min_length=1)
    #: Patterns of instance ids, as in a shell.
    instances: tuple[str, ...] = Field(default=("*",), min_length=1)
    #: None: as is usual for the kind.
    severity: Severity | None = None
    #: For so long a thing must have lasted, s; None: as is usual for the kind.
    after_s: float | None = Field(default=None, ge=0, le=86_400)
    #: So many messages of one kind about one instance are told within `per_s`, and then one with the rest.
    at_most: int = Field(default=3, ge=1, le=100)
    per_s: float = Field(default=600.0, ge=1, le=86_400)
    #: Also tell when it is over.
    recovery: bool = True
    #: In quiet hours: `hold` until their end, `pass`; None: critical messages pass.
    quiet: Literal["hold", "pass"] | None = None
    #: When the daily summary is told.
    at: Clock = time(0, 5)

    def severity_of(self, kind: Kind) -> Severity:
        """Return how grave this rule takes a kind."""
        return self.severity or NATURES[kind].severity

    def after_ms(self, kind: Kind) -> int:
        """Return for how long a kind must have lasted, ms."""
        return int(1000 * (NATURES[kind].after_s if self.after_s is None else self.after_s))

    def is_about(self, kind: Kind, instance: str) -> bool:
        """Tell whether it is about a kind and an instance; what belongs to no instance ('') always is."""
        return kind in self.on and (
            not instance or any(fnmatchcase(instance, pattern) for pattern in self.instances)
        )

    def passes_quiet(self, kind: Kind) -> bool:
        """Tell whether its messages of a kind are told in quiet hours."""
        return self.quiet == "pass" or (self.quiet is None and self.severity_of(kind) is Severity.CRITICAL)


class AlertsConfig(_Model):
    """All of it."""

    #: Of what people get.
    language: Annotated[str, BeforeValidator(_language)] = ENGLISH
    #: Of quiet hours and the daily summary.
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    quiet_hours: QuietHours | None = None
    targets: dict[Name, Target] = Field(min_length=1)
    rules: dict[Name, Rule] = Field(min_length=1)

    def rules_about(self, kind: Kind, instance: str = "") -> Iterator[tuple[str, Rule]]:
        """Yield the rules about a kind and an instance, with their names."""
        for name, rule in self.rules.items():
            if rule.is_about(kind, instance):
                yield name, rule


def load_alerts(path: Path, environ: Mapping[str, str], *, language: str = ENGLISH) -> AlertsConfig:
    """Return the rules in a file; `language` where it names none. Raises `AlertsConfigError`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AlertsConfigError(
            path, ["there is no such file; config/alerts.example.toml is one to begin with"]
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AlertsConfigError(path, [f"cannot be read: {error}"]) from None
    content.setdefault("language", language)
    problems = list(_expand_urls(content, environ))
    try:
        config = AlertsConfig.model_validate(content)
    except ValidationError as error:
        raise AlertsConfigError(path, [*problems, *_told(error)]) from None
    problems += _missing_targets(config)
    if problems:
        raise AlertsConfigError(path, problems)
    return config


def _expand_urls(content: dict[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    targets = content.get("targets")
    for name, target in targets.items() if isinstance(targets, dict) else ():
        url = target.get("url") if isinstance(target, dict) else None
        if not isinstance(url, str):
            continue
        for variable in dict.fromkeys(_VARIABLE.findall(url)):
            if not environ.get(variable):
                yield f"targets.{name}.url: the environment variable {variable} is not set"
        if "${" in _VARIABLE.sub("", url):
            yield f"targets.{name}.url: has a ${{ that is no ${{NAME}}"
        target["url"] = _VARIABLE.sub(lambda found: environ.get(found[1]) or "unset", url)


def _missing_targets(config: AlertsConfig) -> Iterator[str]:
    known = ", ".join(config.targets)
    for name, rule in config.rules.items():
        for target in rule.targets:
            if target not in config.targets:
                yield f"rules.{name}.targets: {target!r} is no target; there is: {known}"


def _told(error: ValidationError) -> Iterator[str]:
    places = [found["loc"] for found in error.errors()]
    for found in error.errors():
        if any(
            len(place) > len(found["loc"]) and place[: len(found["loc"])] == found["loc"] for place in places
        ):
            continue  # it only says that what is within is wrong
        path = ".".join(_part(part) for part in found["loc"] if part != "[key]")
        if found["type"] == "missing":
            yield f"{path}: is missing"
        elif found["type"] == "extra_forbidden":
            yield f"{path}: is no setting; allowed are {', '.join(_settings_at(found['loc']))}"
        elif _may_hold_url(found):
            yield f"{path}: {found['msg'].removeprefix('Value error, ')}"
        else:
            given = json.dumps(found["input"], ensure_ascii=False, default=str)[:_SHOWN]
            yield f"{path}: {given}: {found['msg'].removeprefix('Value error, ')}"


def _part(part: int | str) -> str:
    """Return a part of a place; a name that is none may be a URL that slipped there."""
    return str(part) if isinstance(part, int) or re.match(_NAME, part) else "(not shown)"


def _may_hold_url(found: Any) -> bool:
    """Tell whether what was given may be a URL, or have one within, in its place or in a wrong one."""
    is_number = isinstance(found["input"], int | float)
    return ("targets" in found["loc"] and not is_number) or "://" in json.dumps(found["input"], default=str)


def _settings_at(place: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"quiet_hours": QuietHours, "targets": Target, "rules": Rule}
    model = models.get(str(place[0]), AlertsConfig) if len(place) > 1 else AlertsConfig
    return [field.alias or name for name, field in model.model_fields.items()]
