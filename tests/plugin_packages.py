"""Installs tiny packages with strategies: files on `sys.path`, as pip would leave them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from runner.config_parse import _owners
from strategies.plugins import load_plugins

#: A module with one good strategy. Format it with a `name` and `market_type`.
MODULE = """
    from market.instrument import MarketType
    from strategies.base import Decision, Params, State, Strategy

    class MyParams(Params):
        width_bps: int = 10

    def decide(snapshot, state, params):
        return Decision(quotes=(), state=state)

    STRATEGY = Strategy(
        title="Mine", config_name="{name}", market_types=frozenset({{MarketType.{market_type}}}),
        params=MyParams, state=State, decide=decide, summary="Does nothing.",
    )
"""


def module(name: str = "my_quoter", market_type: str = "SPOT") -> str:
    """Return the text of a module with one good strategy, `STRATEGY`."""
    return MODULE.format(name=name, market_type=market_type)


class Installer:
    """Puts packages on `sys.path` for one test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._modules: list[str] = []

    def __call__(self, package: str, text: str, *entry_points: str) -> None:
        """Install a package of one module, with the entry points given (``name = module:value``)."""
        (self._folder / f"{package}.py").write_text(dedent(text))
        info = self._folder / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = entry_points or (f"my_quoter = {package}:STRATEGY",)
        (info / "entry_points.txt").write_text("\n".join(["[cleanbook.strategies]", *lines, ""]))
        self._modules.append(package)
        self._monkeypatch.syspath_prepend(self._folder)
        forget()

    def remove(self) -> None:
        """Forget what was imported."""
        for name in self._modules:
            sys.modules.pop(name, None)
        forget()


def forget() -> None:
    """Forget which plugins there are."""
    load_plugins.cache_clear()
    _owners.cache_clear()


@contextmanager
def installing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Yield an installer whose packages are forgotten afterwards."""
    installer = Installer(folder, monkeypatch)
    try:
        yield installer
    finally:
        installer.remove()
