"""Read JSON exactly: decimals stay exact, a repeated key is an error, a mistake has its line and column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from runner.config_errors import ConfigError, Problem
from wording import said

#: A file longer than this is not an instance's file, characters.
_MAX_LENGTH = 1_000_000

#: Objects and lists inside each other; an instance's file needs three.
_MAX_DEPTH = 20

#: Powers of ten that a number may reach, up and down; far more than any price or quantity needs.
_MAX_EXPONENT = 30

ABSURD = said("is beyond 10^{most} or finer than 10^-{most}", most=_MAX_EXPONENT)


class _Object(dict[str, Any]):
    """A JSON object that knows which of its keys stood there twice."""

    repeated: tuple[str, ...] = ()


def parse_json(text: str, source: str) -> dict[str, Any]:
    """Return the JSON object in `text`, its numbers with a fraction as `Decimal`.

    Raises `ConfigError` for what is no JSON, no object, has a key twice, or an absurd number.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(
            source,
            [Problem(path="$", message=said("longer than {most} characters", most=_MAX_LENGTH))],
        )
    try:
        content = json.loads(
            text,
            parse_float=_decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
        problems = list(_problems(content, "$"))
        # Half of a surrogate pair can be neither printed nor stored.
        json.dumps(content, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        where = said("line {line}, column {column}", line=error.lineno, column=error.colno)
        raise ConfigError(
            source, [Problem(path=where, message=said("no valid JSON: {error}", error=error.msg))]
        ) from None
    except RecursionError:
        raise ConfigError(source, [Problem(path="$", message=said("nested too deeply"))]) from None
    except UnicodeEncodeError:
        message = said("has half a character (a lone \\ud800 to \\udfff)")
        raise ConfigError(source, [Problem(path="$", message=message)]) from None
    except ValueError as error:  # NaN and Infinity; integers with thousands of digits
        raise ConfigError(
            source, [Problem(path="$", message=said("no valid JSON: {error}", error=error))]
        ) from None
    if not isinstance(content, dict):
        problems.append(Problem(path="$", message=said("must be an object { … }")))
    if problems:
        raise ConfigError(source, problems)
    result: dict[str, Any] = content
    return result


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    result = _Object(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        result.repeated = tuple(name for name in result if names.count(name) > 1)
    return result


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that not even decimals have
        raise ValueError(f"{text[:40]} {ABSURD}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(said("{name} is not a number in JSON", name=name))


def _problems(value: object, path: str, depth: int = 0) -> Iterator[Problem]:
    if depth > _MAX_DEPTH:
        yield Problem(path=path, message=said("nested too deeply"))
    elif isinstance(value, _Object):
        for name in value.repeated:
            yield Problem(path=f"{path}.{name}", message=said("stands there more than once; keep one"))
        for name, item in value.items():
            yield from _problems(item, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, int | Decimal) and is_absurd(Decimal(value)):
        yield Problem(path=path, message=ABSURD)


def is_absurd(number: Decimal) -> bool:
    """Return whether a number is so large or so fine that it can only be a mistake."""
    exponent = number.as_tuple().exponent
    return bool(number) and (
        abs(number.adjusted()) > _MAX_EXPONENT or not isinstance(exponent, int) or exponent < -_MAX_EXPONENT
    )
