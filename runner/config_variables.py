"""`${NAME}` and `${NAME:-default}` in an instance's file.

Plain values are expanded when the file is read. Secrets are not: the configuration keeps the name of the
variable (`SecretRef`), so that neither Redis nor a log nor a status can show what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from runner.config_errors import Problem
from wording import said

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}")
_REFERENCE_PATTERN = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"

#: Names of variables that belong in no plain value: expanded, they would be stored and shown.
_SECRET_NAME = re.compile(r"(KEY|SECRET|PASSWORD|PASSPHRASE|SEEDS?|(API|AUTH|ACCESS)_TOKEN)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """Where a secret is found, never the secret."""

    #: Name of the environment variable.
    variable: str

    def __str__(self) -> str:
        return f"${{{self.variable}}}"


def _parse_secret(value: object) -> SecretRef:
    if isinstance(value, SecretRef):
        return value
    match = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            said("secrets do not belong in a file: set an environment variable and write ${ITS_NAME}")
        )
    if match.group(2) is not None:
        raise ValueError(said("a secret has no default: write ${{{group}}}", group=match.group(1)))
    return SecretRef(variable=match.group(1))


#: A field for a secret: accepts ``${NAME}`` only, keeps the name, is written as ``${NAME}`` again.
Secret = Annotated[
    SecretRef,
    PlainValidator(_parse_secret),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _REFERENCE_PATTERN}),
]


def secret_names(values: Mapping[str, Any], secret_keys: frozenset[str]) -> frozenset[str]:
    """Return the variables that the secrets among `values` refer to."""
    texts = (value for key, value in values.items() if key in secret_keys and isinstance(value, str))
    return frozenset(match.group(1) for text in texts for match in _VARIABLE.finditer(text))


def expand(
    value: Any,
    environ: Mapping[str, str],
    *,
    path: str,
    secrets: frozenset[str],
    problems: list[Problem],
) -> Any:
    """Return `value` with the variables in all its texts replaced; what goes wrong is added to `problems`.

    As in a shell, a variable that is empty counts as unset. `secrets` are variables that may not be used.
    """
    if isinstance(value, dict):
        return {
            key: expand(item, environ, path=f"{path}.{key}", secrets=secrets, problems=problems)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            expand(item, environ, path=f"{path}[{index}]", secrets=secrets, problems=problems)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replacement(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if name in secrets or _SECRET_NAME.search(name):
            message = said(
                "uses ${{{name}}}, which holds a secret; only keys and secrets may refer to it", name=name
            )
        elif environ.get(name):
            return environ[name]
        elif default is not None:
            return default
        else:
            message = said(
                "the environment variable {name} is not set; set it, or write ${{{name}:-default}}", name=name
            )
        problems.append(Problem(path=path, message=message))
        return ""

    expanded = _VARIABLE.sub(replacement, value)
    if "${" in _VARIABLE.sub("", value):
        problems.append(
            Problem(path=path, message=said("has a ${ that is no ${NAME} and no ${NAME:-default}"))
        )
    return expanded
