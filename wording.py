"""Sentences that keep their words and their values apart, so that they can be told in another language.

Whoever finds something out says it in English, as `said("{count} orders are left", count=3)`. That is a text
like any other: logs, errors and programs get it as it is. Whoever speaks to people looks its words up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce


class Said(str):
    """An English sentence, with what it was made of."""

    __slots__ = ("values", "words")
    #: With places for the values, as `str.format` has them.
    words: str
    values: Mapping[str, object]


def said(words: str, **values: object) -> Said:
    """Return a sentence: `words` with `values` in the places of their names."""
    sentence = Said(words.format(**values) if values else words)
    sentence.words, sentence.values = words, values
    return sentence


def described(description: str) -> Said:
    """Return a description within a sentence: without its full stop, and looked up with it."""
    sentence = Said(description.rstrip("."))
    sentence.words, sentence.values = description, {}
    return sentence


def joined(sentences: Iterable[str]) -> str:
    """Return sentences behind one another, each still with what it was made of."""
    found = tuple(sentences)
    if len(found) < 2:
        return found[0] if found else ""
    return reduce(lambda first, second: said("{first}; {second}", first=first, second=second), found)
