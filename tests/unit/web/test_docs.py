from __future__ import annotations

from typing import Any

import pytest

from web.docs import as_3_0


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "T"},
            {"type": "integer", "title": "T", "nullable": True},
        ),
        ({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"anyOf": [{"$ref": "#/x"}], "nullable": True}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}]},
            {"type": "array", "items": {"anyOf": [{"type": "string"}]}},
        ),
        ({"const": "ok"}, {"enum": ["ok"]}),
        ({"type": "string", "examples": ["0.25", "1"]}, {"type": "string", "example": "0.25"}),
        ([{"deep": {"const": 1}}], [{"deep": {"enum": [1]}}]),
    ],
)
def test_what_is_new_is_said_in_older_words(newer: Any, older: Any) -> None:
    assert as_3_0(newer) == older
