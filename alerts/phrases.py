"""What people get, in their language: by key, from `alerts/messages/LANGUAGE.json`.

Rules, rates and the memory go by kinds and names; only a text that is about to be told is put into words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh-TW")
MESSAGES_DIR = Path(__file__).with_name("messages")


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text by its key, with the values for its places; a value may be such a text itself."""

    key: str
    values: Mapping[str, object]


def words(key: str, **values: object) -> Words:
    """Return the text of `key`, with `values` in the places of their names."""
    return Words(key=key, values=values)


class Phrases:
    """The texts of one language."""

    def __init__(self, language: str = ENGLISH) -> None:
        self._texts = read_texts(language)

    def say(self, key: str, **values: object) -> str:
        """Return the text of `key`."""
        return self._texts[key].format(**{name: self.tell(value) for name, value in values.items()})

    def tell(self, said: object) -> str:
        """Return words in this language; whatever else there is, such as somebody's own words, as it is."""
        return self.say(said.key, **said.values) if isinstance(said, Words) else str(said)


def read_texts(language: str) -> dict[str, str]:
    """Return the texts of a language by their keys."""
    found: dict[str, str] = json.loads((MESSAGES_DIR / f"{language}.json").read_text(encoding="utf-8"))
    return found
