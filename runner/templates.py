"""New instance files from templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.config_errors import ConfigError, Problem, did_you_mean
from wording import said

TEMPLATE_DIR = Path(__file__).resolve().parents[1] / "config" / "templates"


def template_names(folder: Path = TEMPLATE_DIR) -> tuple[str, ...]:
    """Return the names of the templates, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def from_template(
    template: str, instance_id: str, *, folder: Path = TEMPLATE_DIR, symbol: str = "", live: bool = False
) -> dict[str, Any]:
    """Return the layout of a file for `instance_id`. Raises `ConfigError` where there is no such template."""
    if template not in template_names(folder):
        known = did_you_mean(template, template_names(folder))
        raise ConfigError(
            "template",
            [Problem(path=template, message=said("there is no such template{known}", known=known))],
        )
    path = folder / f"{template}.json"
    layout: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    metadata = {**layout["metadata"], "instance_id": instance_id}
    for about_the_template in ("name", "description"):
        metadata.pop(about_the_template, None)
    if symbol:
        metadata["symbol"] = symbol
    return {**layout, "metadata": metadata, "live": live}


def with_value(layout: Mapping[str, Any], place: str, text: str) -> dict[str, Any]:
    """Return `layout` with the value that a user typed for `place`: ``limits.max_position``, or a parameter.

    Without a section it is a parameter of the strategy, or a key beside the sections where it is one. What
    is no JSON is taken as text.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    section, _, key = place.rpartition(".")
    if not section and key not in {"live", "exclusive_symbol"}:
        section = "strategy_config"
    if not section:
        return {**layout, key: value}
    return {**layout, section: {**layout.get(section, {}), key: value}}
