"""Mutants of a Lua script: comparisons turned, constants moved, conditions decided, statements dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutation.mutants import Mutant

#: What stands for what, in code outside of texts; each occurrence makes a mutant.
SWAPS = (
    (r"==", "~="),
    (r"~=", "=="),
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>~=])<(?!=)", "<="),
    (r"(?<![<>~=])>(?!=)", ">="),
    (r"(?<![<>~=])>(?!=)", "<"),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bnot ", ""),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"math\.min", "math.max"),
    (r"math\.max", "math.min"),
)
_NUMBER = re.compile(r"(?<![\w.\[])\d+(?![\w.\]])")
_TEXT = re.compile(r"'[^']*'")
_COMMENT = re.compile(r"--.*$")
_CONDITION = re.compile(r"^(\s*(?:if|elseif) )(.+)( then\b.*)$")
_CALL = re.compile(r"^\s*redis\.call\(")
_ASSIGNMENT = re.compile(r"^\s*(?!local )[\w.\[\]#+ ]+ = ")
#: Numbers whose exact size nobody relies on: lengths of logs, ends of lists, the unit of the server's clock.
_KEPT = ("'MAXLEN'", "'LTRIM'", "local now = t[1]")


def lua_mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a script."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if line.lstrip().startswith("--") or not line.strip():
            continue
        yield from (
            _with(file, lines, index, changed, what)
            for changed, what in (*_in_line(line), *_conditions(line))
        )
    yield from _dropped(file, lines)
    yield from _kept_fields(file, text)


def _with(file: str, lines: list[str], index: int, changed: str, what: str) -> Mutant:
    return Mutant(
        file=file, line=index + 1, what=what, text="\n".join([*lines[:index], changed, *lines[index + 1 :]])
    )


def _masked(line: str) -> str:
    """Return the line with texts and its comment blanked out, so that only code matches."""
    without_texts = _TEXT.sub(lambda found: "'" + " " * (len(found[0]) - 2) + "'", line)
    return _COMMENT.sub(lambda found: " " * len(found[0]), without_texts)


def _in_line(line: str) -> Iterator[tuple[str, str]]:
    code = _masked(line)
    if any(word in line for word in _KEPT):
        return
    for pattern, other in SWAPS:
        for found in re.finditer(pattern, code):
            was = found[0].strip()
            changed = line[: found.start()] + other + line[found.end() :]
            yield changed, f"{was} -> {other.strip() or '(nothing)'}"
    for found in _NUMBER.finditer(code):
        more = str(int(found[0]) + 1)
        yield line[: found.start()] + more + line[found.end() :], f"{found[0]} -> {more}"


def _conditions(line: str) -> Iterator[tuple[str, str]]:
    found = _CONDITION.match(line)
    if found:
        for value in ("true", "false"):
            yield found[1] + value + found[3], f"condition -> {value}"


def _dropped(file: str, lines: list[str]) -> Iterator[Mutant]:
    """Yield the script without one of its statements: calls of the server, and assignments."""
    for index, line in enumerate(lines):
        is_call, is_assignment = bool(_CALL.match(line)), bool(_ASSIGNMENT.match(line))
        if not (is_call or is_assignment) or line.lstrip().startswith("--"):
            continue
        end = _end_of_statement(lines, index)
        what = f"dropped: {' '.join(line.split())[:60]}"
        yield Mutant(file=file, line=index + 1, what=what, text="\n".join([*lines[:index], *lines[end:]]))


def _end_of_statement(lines: list[str], start: int) -> int:
    depth = 0
    for index in range(start, len(lines)):
        code = _masked(lines[index])
        depth += sum(code.count(c) for c in "({") - sum(code.count(c) for c in ")}")
        continues = code.rstrip().endswith(("..", "and", "or", ",")) or (
            index + 1 < len(lines) and lines[index + 1].lstrip().startswith((".. ", "or ", "and "))
        )
        if depth <= 0 and not continues:
            return index + 1
    return len(lines)


def _kept_fields(file: str, text: str) -> Iterator[Mutant]:
    """Yield the script with one field fewer in what it deletes."""
    for call in re.finditer(r"redis\.call\('HDEL', [^)]*\)", text):
        for field in re.finditer(r",\s*'(\w+)'", call[0]):
            start = call.start() + field.start()
            changed = text[:start] + text[start + len(field[0]) :]
            if re.search(r"'HDEL', KEYS\[\d+\]\)", changed):
                continue  # The last one: dropped as a whole elsewhere.
            line = text.count("\n", 0, start) + 1
            yield Mutant(file=file, line=line, what=f"keeps {field[1]}", text=changed)
