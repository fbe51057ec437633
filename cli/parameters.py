"""Parameters of a strategy in words: type, range, default, older names."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from cli.language import tr

#: How types read, and how bounds do.
_TYPES = {Decimal: "number", float: "number", int: "whole number", bool: "true or false", str: "text"}
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One key of `strategy_config`."""

    name: str
    #: For people, for example ``number``; of a choice the values.
    type: str
    choices: tuple[str, ...]
    nullable: bool
    #: Sign and bound, for example ``(">", "0")``.
    bounds: tuple[tuple[str, str], ...]
    required: bool
    #: As it would stand in the file; None for null and for a required one.
    default: str | None
    #: With the unit.
    description: str
    #: Other keys that are accepted.
    older_names: tuple[str, ...]

    @property
    def type_words(self) -> str:
        """Return type or choices, with null where that is allowed."""
        words = " | ".join(self.choices) or tr(self.type)
        return tr("{type} or null", type=words) if self.nullable else words

    @property
    def range_words(self) -> str:
        """Return the bounds, for example ``> 0, <= 100``."""
        return ", ".join(f"{sign} {bound}" for sign, bound in self.bounds)

    @property
    def default_words(self) -> str:
        """Return the default, or that there is none."""
        return tr("required") if self.required else self.default or "null"

    def as_json(self) -> dict[str, Any]:
        """Return everything about it."""
        return {
            "name": self.name,
            "type": self.type,
            "choices": list(self.choices),
            "nullable": self.nullable,
            "bounds": [{"is": sign, "bound": bound} for sign, bound in self.bounds],
            "required": self.required,
            "default": self.default,
            "description": self.description,
            "older_names": list(self.older_names),
        }


def parameters_of(model: type[BaseModel]) -> Iterator[Parameter]:
    """Yield the parameters in the order of the model, required ones first."""
    for name, info in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        kinds = [kind for kind in _kinds(info.annotation) if kind is not type(None)]
        choices = tuple(
            str(member.value)
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Enum)
            for member in kind
        )
        yield Parameter(
            name=name,
            type="choice" if choices else " or ".join(dict.fromkeys(_word(kind) for kind in kinds)),
            choices=choices,
            nullable=type(None) in _kinds(info.annotation),
            bounds=tuple(
                (sign, str(getattr(each, word)))
                for each in info.metadata
                for word, sign in _BOUNDS.items()
                if getattr(each, word, None) is not None
            ),
            required=info.is_required(),
            default=_default(info),
            description=info.description or "",
            older_names=_older_names(name, info),
        )


def _kinds(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _word(kind: Any) -> str:
    return _TYPES.get(kind) or str(getattr(kind, "__name__", kind))


def _default(info: FieldInfo) -> str | None:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        value = value.value
    return None if value is None else str(value)


def _older_names(name: str, info: FieldInfo) -> tuple[str, ...]:
    alias = info.validation_alias
    if not isinstance(alias, AliasChoices):
        return ()
    return tuple(choice for choice in alias.choices if isinstance(choice, str) and choice != name)
