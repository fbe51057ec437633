"""Edit an instance's configuration: its file, and the run that it is of, where that can take it.

For the web, which has no editor: the command line's user edits the file and has `manage.py reload` take it.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.config import InstanceConfig, load_instance, read_layout, version_of
from runner.config_change import ChangeRefused, ConfigChange, ConfigConflict, change_config, differences
from runner.config_errors import ConfigError
from runner.context import Context
from state.record import Phase
from wording import said


@dataclass(frozen=True, kw_only=True)
class EditableConfig:
    """A configuration as somebody may edit it."""

    #: In the layout of the file, with defaults written out; secrets are names of variables.
    layout: Mapping[str, Any]
    #: To be given back with the edit, so that nobody's edit is lost.
    version: str
    path: Path
    #: The version that the run has; empty where none goes on. Another one than `version`: the file was edited
    #: and waits for a reload or restart.
    running_version: str


def read_config(context: Context, instance_id: str) -> EditableConfig:
    """Return the configuration of the instance's file; that of its run where the file cannot be used.

    Raises `ConfigError` where there is neither, and `redis.RedisError`.
    """
    settings, record = context.settings, context.instances.read(instance_id)
    is_running = record is not None and record.phase is Phase.RUNNING
    try:
        config = load_instance(instance_id, settings.config_dir, settings.environ).config
    except ConfigError:
        text = context.instances.config_json(instance_id) if is_running else ""
        if not text:
            raise
        config = InstanceConfig.from_json(text)
    return EditableConfig(
        layout=json.loads(config.to_json()),
        version=version_of(config),
        path=settings.config_dir / f"{instance_id}.json",
        running_version=record.config_version if record is not None and is_running else "",
    )


def edit_config(
    context: Context,
    instance_id: str,
    layout: Mapping[str, Any],
    *,
    base_version: str,
    by: str,
    dry_run: bool = False,
) -> ConfigChange:
    """Make `layout` the instance's configuration: in the run, where that can take it, and in its file.

    Where a field takes a restart, only the file is changed, and `takes_effect` of the result says so.
    `base_version` is that of `read_config`. Raises `ConfigError` (422: what is wrong, field by field),
    `ConfigConflict` (409: edited by somebody else meanwhile), `ChangeRefused` (the strategy would not start
    so, or the file cannot be written) and `redis.RedisError`.
    """
    settings = context.settings
    text = json.dumps(layout, ensure_ascii=False)
    config = read_layout(text, instance_id, settings.environ)
    if dry_run:
        return _edit(context, config, base_version=base_version, by=by, dry_run=True)
    with ExitStack() as held:
        # Of two edits at the same moment, the second has to find what the first has made of it.
        path = settings.config_dir / f"{instance_id}.json"
        try:
            held.enter_context(_alone(path))
        except OSError as error:
            told = said(
                "{path} cannot be locked: {strerror}; nothing was changed", path=path, strerror=error.strerror
            )
            raise ChangeRefused(said("{instance_id}: {told}", instance_id=instance_id, told=told)) from error
        return _edit(context, config, base_version=base_version, by=by, dry_run=False)


def _edit(
    context: Context, config: InstanceConfig, *, base_version: str, by: str, dry_run: bool
) -> ConfigChange:
    settings, instance_id = context.settings, config.instance_id
    before = read_config(context, instance_id)
    if base_version != before.version:
        raise ConfigConflict(
            said(
                "{instance_id}: its configuration is {version} by now, and the edit was made from "
                "{base_version}; look at that and make the edit again",
                instance_id=instance_id,
                version=before.version,
                base_version=base_version,
            )
        )
    if before.running_version:
        change = change_config(context, config, by=by, dry_run=True)
        if not change.needs_restart and not dry_run:
            change = change_config(context, config, by=by, base_version=change.base_version)
    else:
        old = InstanceConfig.from_json(json.dumps(before.layout))
        changed = tuple(replace(each, needs_restart=True) for each in differences(old, config))
        change = ConfigChange(
            instance_id=instance_id,
            epoch=0,
            base_version=before.version,
            version=version_of(config),
            changed=changed,
        )
    if not dry_run and change.version != before.version:
        try:
            write_file(before.path, _for_file(before.path, before.layout, config, settings.environ))
        except OSError as error:
            told = said("{file} cannot be written: {error}", file=before.path, error=error.strerror)
            if change.at_ms is None:
                raise ChangeRefused(
                    said(
                        "{instance_id}: {problem}; nothing was changed", instance_id=instance_id, problem=told
                    )
                ) from error
            warning = said("{told}; the run has the change, but the next one would not", told=told)
            change = replace(change, warnings=(*change.warnings, warning))
    return change


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other edits of an instance's file waiting, also those of other processes. Raises `OSError`.

    One that has waited finds another file in its place, and so another version than it was made from.
    """
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Return a file, or its folder: a run's configuration may have none yet."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path.parent, os.O_RDONLY)


def write_file(path: Path, layout: Mapping[str, Any]) -> None:
    """Write an instance's file. Raises `OSError`."""
    write_text(path, json.dumps(layout, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old or the new one. Raises `OSError`."""
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes it the owner's alone; a file that is replaced keeps its rights.
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _for_file(
    path: Path, before: Mapping[str, Any], config: InstanceConfig, environ: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return the file's own layout with the edit in it: what was not edited stays as its owner wrote it."""
    whole: dict[str, Any] = json.loads(config.to_json())
    try:
        own = dict(json.loads(path.read_text(encoding="utf-8-sig")))
        for change in differences(InstanceConfig.from_json(json.dumps(before)), config):
            section, _, key = change.field.rpartition(".")
            if section:
                own[section] = {**own.get(section, {}), key: whole[section][key]}
            else:
                own[key] = whole[key]
        if version_of(read_layout(json.dumps(own), config.instance_id, environ)) == version_of(config):
            return own
    except (ConfigError, OSError, KeyError, TypeError, ValueError):
        pass  # Older names of a field, for example: the whole configuration says the same.
    return whole
