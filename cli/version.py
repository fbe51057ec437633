"""Which version of Cleanbook this is."""

from __future__ import annotations

from pathlib import Path

import click

PROJECT_FILE = Path(__file__).resolve().parents[1] / "pyproject.toml"


def version() -> str:
    """Return the version: of the folder that this runs from, else as installed."""
    # Only here: hardly any command asks.
    import tomllib
    from importlib.metadata import version as installed

    if not PROJECT_FILE.is_file():
        return installed("cleanbook")
    return str(tomllib.loads(PROJECT_FILE.read_text(encoding="utf-8"))["project"]["version"])


def show_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    """Print it and end, where ``--version`` is given."""
    if is_asked and not ctx.resilient_parsing:
        click.echo(f"cleanbook {version()}")
        ctx.exit()
