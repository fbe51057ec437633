"""The JSON Schema of an instance's file, for editors: what is allowed, with defaults, units and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from market.instrument import MarketType
from runner.config_exchanges import EXCHANGES
from runner.config_models import DaemonConfig, MetadataConfig, Pace, StopConfig, TopLevel
from runner.config_validation import accepted_keys
from strategies.base import Params
from strategies.limits import Limits
from strategies.registry import all_strategies, find

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER_PATTERN = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_VARIABLE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"
_REFERENCES = "#/$defs/{model}"


class _Generator(GenerateJsonSchema):
    """Numbers may stand in quotes, as in the old program's files."""

    _quoted: tuple[str, ...] = (_NUMBER_PATTERN,)

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return self._or_quoted(super().int_schema(schema))

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "number"}
        words = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
        number.update({word: float(schema[key]) for key, word in words.items() if key in schema})  # type: ignore[literal-required]
        return self._or_quoted(number)

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [super().bool_schema(schema), {"enum": ["true", "false"]}]}

    def _or_quoted(self, number: JsonSchemaValue) -> JsonSchemaValue:
        return {"anyOf": [number, *({"type": "string", "pattern": pattern} for pattern in self._quoted)]}


class _ExpandingGenerator(_Generator):
    """The sections in which variables are expanded: one may stand in place of a number."""

    _quoted = (_NUMBER_PATTERN, _VARIABLE_PATTERN)


def json_schema() -> dict[str, Any]:
    """Return the schema. It is a little wider than the check itself: rules between keys are not in it."""
    strategies: dict[tuple[str, MarketType], type[Params]] = {
        (strategy.config_name, kind): strategy.params
        for strategy in all_strategies()
        for kind in strategy.market_types
    }

    expanding, definitions = _schemas(
        [MetadataConfig, DaemonConfig, *EXCHANGES.values()], _ExpandingGenerator
    )
    plain, more = _schemas([Pace, StopConfig, Limits, TopLevel, *strategies.values()], _Generator)
    definitions.update(more)

    metadata = expanding[MetadataConfig]
    # The file's name is used when there is none.
    metadata["required"] = [key for key in metadata["required"] if key != "instance_id"]
    metadata["properties"]["exchange"]["examples"] = sorted(EXCHANGES)
    metadata["properties"]["strategy"]["enum"] = sorted({name for name, _ in strategies})
    pace = plain[Pace]["properties"]
    conditions = [
        _when({"exchange": {"const": name}}, "exchange_config", expanding[m]) for name, m in EXCHANGES.items()
    ]
    for (name, kind), model in sorted(strategies.items()):
        chosen = {"strategy": {"const": name}, "market_type": {"const": kind.value}}
        params = _with_older_names(model, plain[model])
        params["properties"] = {**params["properties"], **pace}
        conditions.append(_when(chosen, "strategy_config", params))
    return {
        "$schema": _DIALECT,
        "title": "Cleanbook instance",
        "type": "object",
        "properties": {
            "$schema": {"type": "string", "description": "Where an editor finds this schema."},
            "metadata": metadata,
            "daemon_config": expanding[DaemonConfig],
            "exchange_config": {"type": "object"},
            "strategy_config": {"type": "object"},
            "stop": plain[StopConfig],
            "limits": plain[Limits],
            **plain[TopLevel]["properties"],
        },
        "required": ["metadata", "strategy_config"],
        "additionalProperties": False,
        "allOf": conditions,
        "$defs": definitions,
    }


def _schemas(
    models: list[type[BaseModel]], generator: type[GenerateJsonSchema]
) -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """Return each model's schema, and the definitions they share."""
    unique = list(dict.fromkeys(models))
    references, whole = models_json_schema(
        [(model, "validation") for model in unique], ref_template=_REFERENCES, schema_generator=generator
    )
    definitions: dict[str, Any] = whole["$defs"]
    names = {model: references[model, "validation"]["$ref"].rsplit("/", 1)[-1] for model in unique}
    return {model: definitions.pop(name) for model, name in names.items()}, definitions


def _with_older_names(model: type[Params], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of `model` with the other names its keys have in older files, and those let pass."""
    properties: dict[str, Any] = dict(schema["properties"])
    by_field: dict[int, list[str]] = {}
    known: dict[str, FieldInfo] = accepted_keys(model)
    for key, info in known.items():
        by_field.setdefault(id(info), []).append(key)
    for names in by_field.values():
        current = next(name for name in names if name in schema["properties"])
        for name in names:
            properties.setdefault(name, {**properties[current], "deprecated": True})
    for key, why in model.inert.items():
        properties.setdefault(key, {"description": f"No effect: {why}.", "deprecated": True})
    return {**schema, "properties": properties}


def _when(chosen: Mapping[str, Any], section: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"metadata": {"properties": dict(chosen), "required": list(chosen)}}},
        "then": {"properties": {section: dict(schema)}},
    }


def strategy_schema(config_name: str, market_type: MarketType) -> dict[str, Any]:
    """Return the schema of the section `strategy_config` for one strategy: its parameters and its pace.

    Raises `UnknownStrategy` or `BrokenStrategy`.
    """
    model = find(config_name, market_type).params
    plain, definitions = _schemas([Pace, model], _Generator)
    params = _with_older_names(model, plain[model])
    return {
        **params,
        "$schema": _DIALECT,
        "properties": {**params["properties"], **plain[Pace]["properties"]},
        "$defs": definitions,
    }


def editable_schemas(config_name: str, market_type: MarketType) -> dict[str, dict[str, Any]]:
    """Return the schemas of what is edited while a run goes on, by section of the file.

    Raises `UnknownStrategy` or `BrokenStrategy`.
    """
    plain, definitions = _schemas([Limits, StopConfig], _Generator)
    return {
        "strategy_config": strategy_schema(config_name, market_type),
        "limits": {**plain[Limits], "$defs": definitions},
        "stop": {**plain[StopConfig], "$defs": definitions},
    }
