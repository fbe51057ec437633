"""Give a running instance another configuration: what changes, whether it may, and the change itself.

For the command line and the web alike. What a cleanup needs to find the orders of a run (exchange, account,
symbol, market, strategy) is never changed: those fields take a restart, and the script behind this changes
nothing of a run that is being stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from exchanges.errors import ExchangeError
from runner.config import InstanceConfig, version_of, version_of_text
from runner.config_errors import ConfigError
from runner.config_models import TopLevel
from runner.context import Context
from runner.lifecycle import StartRefused, runnable
from runner.loaded import from_config
from runner.preflight import look_at_change
from state.record import Phase
from strategies.effects import is_live
from wording import joined, said


class ChangeRefused(Exception):
    """Raised when a run must not get a configuration; nothing has changed."""


class ConfigConflict(ChangeRefused):
    """Raised when the configuration is another one than the change was made from; nothing has changed."""


class TakesRestart(ChangeRefused):
    """Raised when fields differ that a run cannot change; nothing has changed."""

    def __init__(self, change: ConfigChange) -> None:
        self.change = change
        fields = ", ".join(
            f"{each.field} ({_shown(each.old)} -> {_shown(each.new)})"
            for each in change.changed
            if each.needs_restart
        )
        super().__init__(
            said(
                "{instance_id}: a running instance cannot change {fields}; manage.py restart {instance_id} "
                "applies it",
                instance_id=change.instance_id,
                fields=fields,
            )
        )


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field that differs, by its place in the file."""

    field: str
    #: JSON values; None also where one of the two has no such field.
    old: Any
    new: Any
    needs_restart: bool

    def as_json(self) -> dict[str, Any]:
        """Return the change for scripts."""
        return {"field": self.field, "old": self.old, "new": self.new, "needs_restart": self.needs_restart}


@dataclass(frozen=True, kw_only=True)
class ConfigChange:
    """What another configuration would change of a run, or has changed."""

    instance_id: str
    epoch: int
    #: The version that the run has without the change.
    base_version: str
    version: str
    changed: tuple[FieldChange, ...]
    warnings: tuple[str, ...] = ()
    #: State server's time of the change, ms; None: it was only looked at, or there was nothing to do.
    at_ms: int | None = None

    @property
    def needs_restart(self) -> bool:
        """Tell whether a field differs that a run cannot change."""
        return any(each.needs_restart for each in self.changed)

    @property
    def takes_effect(self) -> str:
        """Return ``next_iteration``, ``restart``, or empty where nothing differs."""
        if not self.changed:
            return ""
        return "restart" if self.needs_restart else "next_iteration"


def change_config(
    context: Context,
    config: InstanceConfig,
    *,
    by: str,
    base_version: str = "",
    dry_run: bool = False,
) -> ConfigChange:
    """Have a running instance use `config` from its next iteration on, without a restart.

    With `base_version` only if the run still has that one. A `dry_run` changes nothing and raises neither
    `TakesRestart` nor for what the strategy says: its result tells of the first, its warnings of the second.
    Raises `ChangeRefused` (nothing runs, or the strategy would not start so), `ConfigConflict`,
    `TakesRestart`, `StateError` and `redis.RedisError`.
    """
    change, old = _compare(context, config, base_version)
    if change.needs_restart:
        if dry_run:
            return change
        raise TakesRestart(change)
    if not change.changed:
        return change
    try:
        new = runnable(config)
    except StartRefused as error:
        raise ChangeRefused(str(error)) from error
    try:
        found = look_at_change(context, from_config(old), new)
    except (ExchangeError, ConfigError) as error:
        change = replace(
            change, warnings=(said("not looked at with the exchange's own figures: {error}", error=error),)
        )
    else:
        if found.problems and not dry_run:
            raise ChangeRefused(
                said(
                    "{instance_id}: {problems}",
                    instance_id=config.instance_id,
                    problems=joined(found.problems),
                )
            )
        change = replace(change, warnings=found.problems + found.warnings)
    return change if dry_run else _apply(context, config, change, by)


def _compare(
    context: Context, config: InstanceConfig, base_version: str
) -> tuple[ConfigChange, InstanceConfig]:
    """Return what `config` would change, and the configuration that the run has."""
    instance_id = config.instance_id
    record = context.instances.read(instance_id)
    if record is None or record.phase is not Phase.RUNNING:
        state = (
            said("was never started") if record is None else said("is {phase}", phase=said(str(record.phase)))
        )
        raise ChangeRefused(
            said(
                "{instance_id}: only a running instance can be changed, and this one {state}",
                instance_id=instance_id,
                state=state,
            )
        )
    if base_version and base_version != record.config_version:
        raise ConfigConflict(_conflict(instance_id, base_version, record.config_version))
    now = context.changes.config_of_run(instance_id)
    if (now.epoch, now.version) != (record.epoch, version_of_text(now.config_json)):
        raise ConfigConflict(
            said(
                "{instance_id}: its configuration is being changed just now; try again",
                instance_id=instance_id,
            )
        )
    old = InstanceConfig.from_json(now.config_json)
    change = ConfigChange(
        instance_id=instance_id,
        epoch=now.epoch,
        base_version=now.version,
        version=version_of(config),
        changed=tuple(differences(old, config)),
    )
    return change, old


def differences(old: InstanceConfig, new: InstanceConfig) -> Iterator[FieldChange]:
    """Yield the fields whose values differ, as the file would say them, with defaults written out."""
    before, after = dict(_fields(old)), dict(_fields(new))
    for place in dict.fromkeys((*before, *after)):
        was, becomes = before.get(place), after.get(place)
        if was == becomes:
            continue
        both = was and becomes and was.is_live and becomes.is_live
        yield FieldChange(
            field=place,
            old=was.value if was else None,
            new=becomes.value if becomes else None,
            needs_restart=not both,
        )


@dataclass(frozen=True)
class _Field:
    value: Any
    is_live: bool


def _fields(config: InstanceConfig) -> Iterator[tuple[str, _Field]]:
    top = TopLevel(live=config.live, exclusive_symbol=config.exclusive_symbol)
    parts: tuple[tuple[str, BaseModel], ...] = (
        ("metadata.", config.metadata),
        ("exchange_config.", config.exchange_config),
        ("strategy_config.", config.strategy_config.params),
        ("strategy_config.", config.strategy_config.pace),
        ("stop.", config.stop),
        ("limits.", config.limits),
        ("", top),
    )
    for prefix, part in parts:
        values = part.model_dump(mode="json")
        for name, info in type(part).model_fields.items():
            yield f"{prefix}{info.alias or name}", _Field(values[name], is_live(type(part), name))


def _apply(context: Context, config: InstanceConfig, change: ConfigChange, by: str) -> ConfigChange:
    result = context.changes.change_config(
        change.instance_id,
        epoch=change.epoch,
        base_version=change.base_version,
        version=change.version,
        config_json=config.to_json(),
        by=by,
        changed_json=json.dumps([each.as_json() for each in change.changed]),
    )
    if result.result == "conflict":
        raise ConfigConflict(_conflict(change.instance_id, change.base_version, said("another one")))
    if result.result != "changed":
        raise ChangeRefused(
            said(
                "{instance_id}: run {epoch} is {result} by now; nothing was changed",
                instance_id=change.instance_id,
                epoch=change.epoch,
                result=result.result,
            )
        )
    return replace(change, at_ms=result.at_ms)


def _conflict(instance_id: str, base: str, found: str) -> str:
    return said(
        "{instance_id}: the change was made from configuration {base}, but the run has {found} by now; look "
        "at that and make the change again",
        instance_id=instance_id,
        base=base,
        found=found,
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
