"""What the fuzz tests share: how many examples, and ways to spoil a message that was in order."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

F = TypeVar("F", bound=Callable[..., None])

#: `make fuzz` sets it. 0: the few examples of a usual run, the same ones each time.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
#: What a number of examples for all tests is divided by where an example takes long.
SLOW, SLOWEST = 10, 100


def fuzz(examples: int, *, divisor: int = 1) -> Callable[[F], F]:
    """Run a test with `examples` fixed examples; under `make fuzz` FUZZ_EXAMPLES / `divisor` new ones."""
    return settings(
        max_examples=max(examples, EXAMPLES // divisor) if EXAMPLES else examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=bool(EXAMPLES),
        # Not the explanations: they run hundreds more, and a run of an instance takes long.
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        # The fixtures used here hold nothing that an example leaves behind.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )


@dataclass(frozen=True, repr=False)
class Raw:
    """JSON, or what passes for it, that is written down as it is."""

    text: str

    def __repr__(self) -> str:
        return f"Raw({self.text[:60]!r}, {len(self.text)} characters)"


#: Numbers at which something may break: written as JSON numbers, and as texts.
NUMBERS = (
    *(
        "0",
        "-0",
        "-1",
        "0.0",
        "1e400",
        "-1e400",
        "1e-400",
        "1e999999",
        "1e-999999",
        "NaN",
        "-NaN",
        "Infinity",
    ),
    *("-Infinity", "1e99999999999999999999", "1e-99999999999999999999", "4294967296", "9223372036854775808"),
    *(
        "99999999999999999999999999999999999999",
        "0.000000000000000000000000000000000000001",
        "1" + "0" * 5000,
    ),
    *(
        "253402300800000",
        "1e30",
        "sNaN",
        "inf",
        "0x10",
        "1_000",
        "\u0661\u0662",
        "²",
        "",
        " 1 ",
        "+1",
        ".5",
        "5.",
        "1,5",
    ),
)
TEXTS = ("", " ", "\x00", "\ud800", "é", "a,b", "a:b", "{}", "../x", "%s", "true", "null", "Bid", "x" * 5000)
NESTED: tuple[Any, ...] = (
    Raw("[" * 5_000),
    Raw("[" * 500 + "]" * 500),
    [],
    {},
    [[]],
    {"": {}},
    [None],
    [[1, 2, 3]],
)

nasty_numbers = st.sampled_from(NUMBERS)
nasty_values: st.SearchStrategy[Any] = st.one_of(
    nasty_numbers.map(Raw),
    nasty_numbers,
    st.sampled_from(TEXTS),
    st.sampled_from(NESTED),
    st.sampled_from((None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64)),
    st.text(max_size=8),
    st.integers(),
)

Path = tuple[str | int, ...]


def paths(document: Any, at: Path = ()) -> list[Path]:
    """Return the places of everything in a document, the whole first."""
    found = [at]
    if isinstance(document, dict):
        for key, value in document.items():
            found += paths(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += paths(value, (*at, index))
    return found


def value_at(document: Any, path: Path) -> Any:
    """Return what stands at a place."""
    for step in path:
        document = document[step]
    return document


def changed(document: Any, path: Path, change: Callable[[Any, Any], None]) -> Any:
    """Return a copy whose container of `path` went through `change(container, key)`."""
    copied = copy.deepcopy(document)
    change(value_at(copied, path[:-1]), path[-1])
    return copied


@st.composite
def broken(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document in which one to three places are gone, of another type, or absurd."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(document)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(nasty_values)
            continue
        action = draw(st.sampled_from(("drop", "replace", "replace", "replace", "double", "wrap")))
        value = draw(nasty_values) if action == "replace" else None

        def change(container: Any, key: Any, action: str = action, value: Any = value) -> None:
            if action == "drop":
                del container[key]
            elif action == "double" and isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            elif action == "wrap":
                container[key] = [container[key]]
            else:
                container[key] = value

        document = changed(document, path, change)
    return document


def written(value: Any) -> str:
    """Return JSON in which every `Raw` stands as it is."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    return json.dumps(value)


#: Answers that have nothing to do with what was asked.
OTHER_BODIES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'""',
    b"<html><body>502 Bad Gateway</body></html>",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"code":"SERVER_ERROR","message":"\xed\xa0\x80"}',
    b'{"id":"\xe9"}',
    b"[" * 5_000,
    b"\x00" * 20,
)


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> bytes:
    """Draw the bytes of a document with something wrong in it, or of something else altogether."""
    kind = draw(st.sampled_from(("fields",) * 7 + ("cut", "other", "bytes")))
    if kind == "other":
        return draw(st.sampled_from(OTHER_BODIES))
    body = written(draw(broken(document)) if kind == "fields" else document).encode("utf-8", "surrogatepass")
    if kind == "cut":
        return body[: draw(st.integers(0, len(body) - 1))]
    if kind == "bytes":
        at = draw(st.integers(0, len(body)))
        return body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at + draw(st.integers(0, 2)) :]
    return body


@st.composite
def same_meaning(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document that says the same: keys in another order, fields that nobody knows."""
    if isinstance(document, dict):
        items = [(key, draw(same_meaning(value))) for key, value in document.items()]
        if draw(st.booleans()):
            items.append(
                ("zzUnknown" + draw(st.sampled_from("abc")), draw(st.sampled_from((None, 1, "x", []))))
            )
        return dict(draw(st.permutations(items)))
    if isinstance(document, list):
        return [draw(same_meaning(value)) for value in document]
    return document
