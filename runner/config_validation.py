"""Validate one section of an instance's file against its model, and say in words what would be allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from runner.config_errors import Problem, did_you_mean, shown
from runner.config_text import ABSURD, is_absurd
from wording import described, joined, said

#: How JSON Schema's words for types read in a sentence.
_TYPE_WORDS = {
    "string": said("text in quotes"),
    "integer": said("a whole number"),
    "number": said("a number"),
    "boolean": said("true or false"),
    "array": said("a list"),
    "object": said("an object {form}", form="{ … }"),
    "null": "null",
}


#: Numbers in quotes, as far as their size could be a mistake.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,9})?")

M = TypeVar("M", bound=BaseModel)


def accepted_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return every key a file may use for `model`, older spellings included."""
    keys: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, AliasChoices):
            keys.update({choice: info for choice in alias.choices if isinstance(choice, str)})
        else:
            keys[alias if isinstance(alias, str) else name] = info
    return keys


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of a file, and what its messages need."""

    #: JSON path of the section, for example ``$.strategy_config``.
    path: str
    #: The values as they stand in the file, before the expansion of variables.
    given: Mapping[str, Any]
    #: Keys whose values no message shows.
    hidden: Collection[str] = ()
    #: Keys about which something was said already.
    told: Collection[str] = ()
    #: Keys that are checked elsewhere and yet belong to this section.
    also_known: Collection[str] = ()
    #: Keys that mean nothing here, with where they do.
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def said(self, key: str) -> str:
        """Return how a message refers to the value of `key`."""
        return (
            said("this value cannot be used")
            if key in self.hidden
            else said("is {value}", value=shown(self.given.get(key)))
        )


def validate_section(
    model: type[M], values: Mapping[str, Any], section: Section
) -> tuple[M | None, list[Problem]]:
    """Return `values` as a `model`, or None and what is wrong with them."""
    found: dict[str, str] = _kind_problems(model, values, section)
    whole: list[Problem] = []
    result: M | None = None
    try:
        result = model.model_validate(dict(values))
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["loc"]:
                # A key that pydantic tries as several types is told once.
                found.setdefault(str(details["loc"][0]), _message(model, details, section))
            else:
                whole.append(Problem(path=section.path, message=_reason(details)))
    problems: list[Problem] = [
        Problem(path=f"{section.path}.{key}", message=message)
        for key, message in found.items()
        if key not in section.told
    ]
    problems += whole
    return (None if problems else result), problems


def _kind_problems(model: type[BaseModel], values: Mapping[str, Any], section: Section) -> dict[str, str]:
    """Find what pydantic would let pass: true for a number, "yes" or 1 for true."""
    found: dict[str, str] = {}
    for key, info in accepted_keys(model).items():
        if key not in values:
            continue
        value = values[key]
        is_switch = info.annotation is bool
        if is_switch and not isinstance(value, bool) and value not in ("true", "false"):
            found[key] = said("{what}; must be true or false", what=section.said(key))
        elif isinstance(value, bool) and not is_switch:
            found[key] = joined((section.said(key), allowed(model, key)))
        elif isinstance(value, str) and _is_decimal(info) and _is_absurd_text(value.strip()):
            found[key] = ABSURD
    return found


def _is_decimal(info: FieldInfo) -> bool:
    return Decimal in (info.annotation, *get_args(info.annotation))


def _is_absurd_text(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and is_absurd(Decimal(text))


def _message(model: type[BaseModel], details: ErrorDetails, section: Section) -> str:
    key = str(details["loc"][0])
    if details["type"] == "extra_forbidden":
        if key in accepted_keys(model):
            return said("stands there under an older name too; keep one")
        if key in section.elsewhere:
            return said("is not a key here: {why}; remove it", why=section.elsewhere[key])
        return said("unknown key{hint}", hint=did_you_mean(key, [*accepted_keys(model), *section.also_known]))
    if details["type"] == "missing":
        return said("is missing; {allowed}", allowed=allowed(model, key))
    reason = _reason(details) if details["type"] == "value_error" else ""
    return joined((section.said(key), reason or allowed(model, key)))


def allowed(model: type[BaseModel], key: str) -> str:
    """Return ``must be …`` for a key of `model`, from its type, its bounds and its description."""
    info = accepted_keys(model).get(key)
    schema = model.model_json_schema()
    properties: dict[str, Any] = schema.get("properties", {})
    # Older spellings are not in the schema; their field is.
    names = [key, *(other for other, its in accepted_keys(model).items() if its is info)]
    found: dict[str, Any] = next((properties[name] for name in names if name in properties), {})
    words = _words(found, schema.get("$defs", {}))
    text = said("must be {what}", what=words) if words else said("has a value that is not allowed")
    description = str(found.get("description", "")).strip()
    return (
        said("{text} ({description})", text=text, description=described(description)) if description else text
    )


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _words(definitions[str(schema["$ref"]).rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        branches = schema["anyOf"]
        if any(branch.get("type") == "number" for branch in branches):
            # Decimals are numbers or the same number in quotes; saying it twice helps nobody.
            branches = [branch for branch in branches if branch.get("type") != "string"]
        return _alternatives(dict.fromkeys(_words(branch, definitions) for branch in branches))
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return _alternatives(shown(value) for value in schema["enum"])
    bounds = _bounds(schema)
    kind = _TYPE_WORDS.get(str(schema.get("type")), "")
    if "pattern" in schema and not bounds:
        bounds.append(said("of the form {form}", form=schema["pattern"]))
    if not bounds:
        return kind
    within = reduce(lambda one, other: said("{one} and {other}", one=one, other=other), bounds)
    return said("{kind} {within}", kind=kind, within=within) if kind else within


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    bounds: list[str] = []
    if "exclusiveMinimum" in schema:
        bounds.append(said("above {bound}", bound=f"{schema['exclusiveMinimum']:g}"))
    if "minimum" in schema:
        bounds.append(said("at least {bound}", bound=f"{schema['minimum']:g}"))
    if "exclusiveMaximum" in schema:
        bounds.append(said("below {bound}", bound=f"{schema['exclusiveMaximum']:g}"))
    if "maximum" in schema:
        bounds.append(said("at most {bound}", bound=f"{schema['maximum']:g}"))
    return bounds


def _alternatives(words: Iterable[str]) -> str:
    return reduce(lambda one, other: said("{one} or {other}", one=one, other=other), words)


def _reason(details: ErrorDetails) -> str:
    """Return what a validator of ours said."""
    raised = details.get("ctx", {}).get("error")
    said_by_us = raised.args[0] if isinstance(raised, ValueError) and len(raised.args) == 1 else None
    return said_by_us if isinstance(said_by_us, str) else details["msg"].removeprefix("Value error, ")
