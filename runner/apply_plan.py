"""From a folder of instance files to what has to happen so that just these run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runner.config import InstanceConfig, instance_ids, load_instance, version_of
from runner.config_change import ChangeRefused, ConfigChange, change_config
from runner.config_edit import write_text
from runner.config_errors import ConfigError, Problem
from runner.context import Context
from state.record import Phase, Record
from wording import joined, said


class Action(StrEnum):
    """What has to happen to an instance, in the words of the table."""

    STOP = "stop"
    UPDATE = "update"
    RESTART = "restart"
    START = "start"
    UNCHANGED = "unchanged"
    #: It runs, is not in the folder, and is left alone without `--prune`.
    LEFT = "not listed"
    #: Somebody has to look at it first.
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """What has to happen to one instance."""

    instance_id: str
    action: Action
    #: Why, in words.
    why: str
    #: None where no run is compared with a file.
    change: ConfigChange | None = None
    config: InstanceConfig | None = None

    @property
    def is_due(self) -> bool:
        """Tell whether there is anything to do."""
        return self.action in {Action.STOP, Action.UPDATE, Action.RESTART, Action.START}


def plan_apply(context: Context, folder: Path, *, prune: bool) -> tuple[PlannedStep, ...]:
    """Return what has to happen so that the files of `folder` run, and with `prune` nothing else.

    Changes nothing. Raises one `ConfigError` with all that is wrong in any file, and `redis.RedisError`.
    """
    configs = _load_all(context, folder)
    unreadable: dict[str, str] = {}
    found = context.instances.read_all(lambda name, error: unreadable.update({name: str(error)}))
    records = {record.instance_id: record for record in found}
    steps = [
        PlannedStep(instance_id=name, action=Action.BLOCKED, why=unreadable[name])
        if name in unreadable
        else _step(context, config, records.get(name))
        for name, config in configs.items()
    ]
    others = [record for record in found if record.instance_id not in configs]
    return (*steps, *_others(others, prune=prune))


def install(context: Context, folder: Path, step: PlannedStep) -> None:
    """Put an instance's file of `folder` where starts and restarts look for it. Raises `OSError`."""
    name = f"{step.instance_id}.json"
    source, target = (folder / name).resolve(), (context.settings.config_dir / name).resolve()
    if source != target:
        write_text(target, source.read_text(encoding="utf-8-sig"))


def _load_all(context: Context, folder: Path) -> dict[str, InstanceConfig]:
    configs: dict[str, InstanceConfig] = {}
    problems: list[Problem] = []
    if not folder.is_dir():
        raise ConfigError(str(folder), [Problem(path=said("folder"), message=said("does not exist"))])
    for name in instance_ids(folder):
        try:
            configs[name] = load_instance(name, folder, context.settings.environ).config
        except ConfigError as error:
            problems += [
                Problem(path=f"{name}.json: {each.path}", message=each.message) for each in error.problems
            ]
    if problems:
        raise ConfigError(str(folder), problems)
    return configs


def _step(context: Context, config: InstanceConfig, record: Record | None) -> PlannedStep:
    name = config.instance_id

    def step(action: Action, why: str, change: ConfigChange | None = None) -> PlannedStep:
        return PlannedStep(instance_id=name, action=action, why=why, change=change, config=config)

    if record is None or record.phase is Phase.STOPPED:
        return step(Action.START, said("never started") if record is None else said("is stopped"))
    if record.phase is Phase.STOPPING:
        return step(
            Action.BLOCKED,
            said("run {epoch} is being stopped; apply again when that has ended", epoch=record.epoch),
        )
    if record.phase is Phase.FAILED:
        return step(
            Action.BLOCKED,
            said(
                "the stop of run {epoch} has failed; manage.py receipt {name}", epoch=record.epoch, name=name
            ),
        )
    run = said("run {epoch}", epoch=record.epoch)
    if record.is_paused:
        run = said("run {epoch}, paused", epoch=record.epoch)
    if record.config_version == version_of(config):
        return step(Action.UNCHANGED, run)
    try:
        change = change_config(context, config, by="", dry_run=True)
    except ChangeRefused as error:
        return step(Action.BLOCKED, error.args[0])
    if change.needs_restart:
        fields = ", ".join(each.field for each in change.changed if each.needs_restart)
        return step(Action.RESTART, said("{run}; takes a restart: {fields}", run=run, fields=fields), change)
    if not change.changed:
        return step(Action.UNCHANGED, run)
    return step(Action.UPDATE, said("{run}; takes effect at its next iteration", run=run), change)


def _standing(record: Record) -> str:
    return said("run {epoch} is {phase}", epoch=record.epoch, phase=said(str(record.phase)))


def _others(records: list[Record], *, prune: bool) -> Iterator[PlannedStep]:
    for record in records:
        if record.phase is Phase.STOPPED:
            continue
        is_stop = prune and record.phase is Phase.RUNNING
        yield PlannedStep(
            instance_id=record.instance_id,
            action=Action.STOP if is_stop else Action.LEFT,
            why=_standing(record) if prune else joined((_standing(record), said("--prune stops it"))),
        )
