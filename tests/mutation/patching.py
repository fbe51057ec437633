"""Put a mutant in place of what is loaded already."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
SCRIPTS = "state/lua/"
#: Values that another module may have imported by their name.
SIMPLE = (int, float, str, Decimal, tuple, frozenset, dict, list)


def put_in_place(mutant: Mutant, folder: Path) -> None:
    """Make this process run the mutant. `folder` is for files that it needs."""
    if mutant.file.startswith(SCRIPTS):
        _scripts(mutant, folder)
    else:
        _module(mutant)


def _scripts(mutant: Mutant, folder: Path) -> None:
    from state import scripts

    copied = folder / "lua"
    shutil.copytree(ROOT / SCRIPTS, copied)
    (copied / mutant.file.removeprefix(SCRIPTS)).write_text(mutant.text, encoding="utf-8")
    scripts.LUA_DIR = copied


def _module(mutant: Mutant) -> None:
    """Give every function of the loaded module its code in the mutant, and every constant its value."""
    name = mutant.file.removesuffix(".py").replace("/", ".")
    loaded = sys.modules[name]
    changed = ModuleType(name)
    changed.__dict__.update(__file__=loaded.__file__, __package__=loaded.__package__)
    # Dataclasses look for their module by its name.
    sys.modules[name] = changed
    try:
        exec(compile(mutant.text, str(ROOT / mutant.file), "exec"), changed.__dict__)
    finally:
        sys.modules[name] = loaded
    new = dict(_functions(changed, name))
    for path, function in _functions(loaded, name):
        if path in new:
            function.__code__ = new[path].__code__
            function.__defaults__ = new[path].__defaults__
            function.__kwdefaults__ = new[path].__kwdefaults__
    _constants(loaded, changed)


def _functions(owner: Any, module: str, path: str = "") -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions of a module and its classes, also those behind properties, by their path."""
    for name, value in list(vars(owner).items()):
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        inner = getattr(inner, "__wrapped__", inner)
        if isinstance(inner, FunctionType) and inner.__module__ == module:
            yield f"{path}.{name}", inner
        elif isinstance(value, type) and value.__module__ == module and not name.startswith("__"):
            yield from _functions(value, module, f"{path}.{name}")


def _constants(loaded: ModuleType, changed: ModuleType) -> None:
    for name, value in vars(changed).items():
        old = vars(loaded).get(name)
        if name.startswith("__") or not isinstance(value, SIMPLE) or value == old:
            continue
        for module in list(sys.modules.values()):
            if vars(module).get(name) is old:
                setattr(module, name, value)
