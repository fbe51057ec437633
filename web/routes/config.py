"""Configurations: as they are in their files, and what strategies take."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from market.instrument import MarketType
from runner.config import load_instance, version_of
from runner.config_schema import strategy_schema
from strategies.registry import UnknownStrategy
from web.auth import Who, With
from web.errors import ApiError
from web.models import ConfigAnswer
from web.routes.instances import InstanceId, require_row

router = APIRouter(tags=["configuration"])


@router.get("/instances/{instance_id}/config")
def config(instance_id: InstanceId, _: Who, services: With) -> ConfigAnswer:
    """Return the configuration in the file of an instance; secrets are names of variables."""
    require_row(services, instance_id)
    settings = services.settings
    loaded = load_instance(instance_id, settings.config_dir, settings.environ)
    return ConfigAnswer(
        config=json.loads(loaded.config.to_json()),
        version=version_of(loaded.config),
        file=str(loaded.path),
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
