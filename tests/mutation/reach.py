"""Which tests run which part of the files that are changed: only those can notice a mutant there."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from state.scripts import INCLUDE, Scripts

ROOT = Path(__file__).parents[2]
LUA = "state/lua/"

#: Names of scripts, and functions by their file and first line.
Parts = set[str]


@contextmanager
def recording(files: Iterable[str]) -> Iterator[Parts]:
    """Note in the set what of `files` is run; who reads it empties it for the next test."""
    seen: Parts = set()
    modules = {str(ROOT / file): file for file in files if not file.startswith(LUA)}
    with _calls_of_scripts(seen), _calls_of_functions(modules, seen):
        yield seen


def parts_of(file: str, text: str, line: int) -> Parts | None:
    """Return what of a file a line belongs to; None: to all of it."""
    if file.startswith(LUA):
        name = file.removeprefix(LUA)
        if not name.startswith("parts/"):
            return {Path(name).stem}
        return {
            path.stem
            for path in (ROOT / LUA).glob("*.lua")
            if name in INCLUDE.findall(path.read_text(encoding="utf-8"))
        }
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and _first_line(node) <= line <= (node.end_lineno or 0)
    ]
    return {f"{file}:{_first_line(max(around, key=_first_line))}"} if around else None


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


@contextmanager
def _calls_of_functions(modules: dict[str, str], seen: Parts) -> Iterator[None]:
    def note(frame: FrameType, _: str, __: object) -> None:
        file = modules.get(frame.f_code.co_filename)
        if file is not None:
            seen.add(f"{file}:{frame.f_code.co_firstlineno}")

    if not modules:
        yield
        return
    threading.settrace(note)
    sys.settrace(note)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


@contextmanager
def _calls_of_scripts(seen: Parts) -> Iterator[None]:
    before = {name: getattr(Scripts, name) for name in ("call", "call_int", "queue")}

    def noting(was: Callable[..., Any], position: int) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seen.add(arguments[position])
            return was(*arguments, **named)

        return call

    for name, was in before.items():
        setattr(Scripts, name, noting(was, 2 if name == "queue" else 1))
    try:
        yield
    finally:
        for name, was in before.items():
            setattr(Scripts, name, was)
