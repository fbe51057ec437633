"""When another value of a field takes effect: declared beside the field, shown in the JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.config import JsonDict

_KEY = "x-takes-effect"
#: `json_schema_extra` of a field whose new value holds from a run's next iteration on.
LIVE: Final[JsonDict] = {_KEY: "next_iteration"}
#: `json_schema_extra` of a field whose new value holds from the next run on.
RESTART: Final[JsonDict] = {_KEY: "restart"}


def is_live(model: type[BaseModel], field: str) -> bool:
    """Tell whether a running instance can take another value of `field`.

    By the field's own mark, else by the model's `is_live`; without either it takes a restart.
    """
    extra = model.model_fields[field].json_schema_extra
    if isinstance(extra, dict) and _KEY in extra:
        return extra[_KEY] == LIVE[_KEY]
    return bool(getattr(model, "is_live", False))


def tell_effects(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Write into a model's JSON Schema when each of its fields takes effect."""
    for name, info in model.model_fields.items():
        shown = schema.get("properties", {}).get(info.alias or name)
        if shown is not None:
            shown.setdefault(_KEY, (LIVE if is_live(model, name) else RESTART)[_KEY])
