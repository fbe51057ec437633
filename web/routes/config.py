"""Configurations: read, edited while a run goes on, and what strategies take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from market.instrument import MarketType
from runner.config_change import ConfigChange
from runner.config_edit import edit_config, read_config
from runner.config_schema import editable_schemas, strategy_schema
from strategies.registry import UnknownStrategy
from web.audit import audited
from web.auth import Who, With
from web.errors import ApiError
from web.models import (
    ConfigAnswer,
    ConfigChanged,
    ConfigRequest,
    ConfigResult,
    FieldError,
)
from web.routes.instances import InstanceId, require_row

router = APIRouter(tags=["configuration"])

#: Where variables are not expanded and no address is: a stolen login must not send keys somewhere, nor turn
#: play money into real money. The rest is changed in the file, by who has a shell.
EDITABLE = ("strategy_config", "limits", "stop")


@router.get("/instances/{instance_id}/config")
def config(instance_id: InstanceId, _: Who, services: With) -> ConfigAnswer:
    """Return the configuration in the file of an instance; secrets are names of variables."""
    require_row(services, instance_id)
    found = read_config(services.context, instance_id)
    return ConfigAnswer(
        config=dict(found.layout),
        version=found.version,
        file=str(found.path),
        running_version=found.running_version,
    )


@router.get("/instances/{instance_id}/config/schema")
def config_schema(instance_id: InstanceId, _: Who, services: With) -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of the sections that can be edited here, by section."""
    require_row(services, instance_id)
    metadata = read_config(services.context, instance_id).layout["metadata"]
    schemas = editable_schemas(metadata["strategy"], MarketType(metadata["market_type"]))
    assert tuple(schemas) == EDITABLE
    return schemas


@router.put("/instances/{instance_id}/config")
def edit(
    instance_id: InstanceId,
    body: ConfigRequest,
    who: Who,
    services: With,
    dry_run: Annotated[bool, Query(description="Only look at it; nothing is changed.")] = False,
) -> ConfigResult:
    """Change parameters, limits and what a stop does: in the file, and at the next iteration of the run.

    Where a field takes a restart, only the file is changed. Sections other than `strategy_config`, `limits`
    and `stop` must be as they were read: they are changed in the file.
    """
    require_row(services, instance_id)
    if dry_run:
        return _result(_edit(services, who, instance_id, body, dry_run=True))
    with audited(services, who, "change_config", instance_id) as record:
        change = _edit(services, who, instance_id, body, dry_run=False)
        record.epoch, record.result = change.epoch, change.takes_effect or "nothing"
        record.details = {
            "version": change.version,
            "fields": ", ".join(each.field for each in change.changed),
        }
    return _result(change)


def _edit(services: With, who: Who, instance_id: str, body: ConfigRequest, *, dry_run: bool) -> ConfigChange:
    # Before anything in it is read: variables in other sections would be expanded.
    _require_unchanged(read_config(services.context, instance_id).layout, body.config)
    return edit_config(
        services.context,
        instance_id,
        body.config,
        base_version=body.base_version,
        by=who.by,
        dry_run=dry_run,
    )


def _require_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    sections = dict.fromkeys((*before, *after))
    changed = [name for name in sections if name not in EDITABLE and before.get(name) != after.get(name)]
    if changed:
        message = "cannot be changed over HTTP; edit the file, then manage.py reload or restart applies it"
        errors = [FieldError(field=name, value=None, message=message, allowed=None) for name in changed]
        raise ApiError(422, f"{', '.join(changed)}: {message}", field=changed[0], errors=errors)


def _result(change: ConfigChange) -> ConfigResult:
    return ConfigResult(
        version=change.version,
        takes_effect="restart" if change.needs_restart else "next_iteration" if change.changed else "nothing",
        changed=[
            ConfigChanged(field=each.field, old=each.old, new=each.new, needs_restart=each.needs_restart)
            for each in change.changed
        ],
        warnings=list(change.warnings),
    )


@router.get("/strategies/{name}/schema")
def schema(
    name: Annotated[str, Path(max_length=64)],
    _: Who,
    market_type: Annotated[MarketType, Query(description="Parameters differ.")] = MarketType.SPOT,
) -> dict[str, Any]:
    """Return the JSON Schema of a strategy's parameters, as in section `strategy_config` of a file."""
    try:
        return strategy_schema(name, market_type)
    except UnknownStrategy as error:
        raise ApiError(404, str(error), field="name") from error
