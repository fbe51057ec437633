"""The language that people are spoken to. What scripts read (``--json``, ``--csv``) is never translated.

Messages are written in English where they are used, as `tr("{count} orders", count=3)`; the catalogue of
another language, `cli/messages/zh-TW.json`, has its words for each. What is not in it stays English. JSON,
as the page's catalogues are: nothing has to be compiled, and a test finds what is missing.
"""

from __future__ import annotations

import gettext
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from wording import Said

ENGLISH = "en"
#: Language and its catalogue.
LANGUAGES = (ENGLISH, "zh-TW")
MESSAGES_DIR = Path(__file__).with_name("messages")

#: What stays together when a line is broken: a word, or a character of Chinese, with brackets before it and
#: with what may not begin a line behind it.
_OPENING, _CLOSING = r"\[\uff08\u300c", "\uff0c\u3002\uff1b\uff1a\u3001\uff01\uff1f\uff09\u300d"
_PIECES = re.compile(rf"[{_OPENING}]*(?:[!-~]+|[^!-~\s])[{_CLOSING}]*\s*")


class _Spoken:
    """What `tr` uses now; a command line speaks one language from its beginning to its end."""

    language: str = ENGLISH
    catalogue: Mapping[str, str] = {}


def use(language: str) -> None:
    """Speak one of `LANGUAGES` from now on; the command line's parser, which asks `gettext`, does too."""
    _Spoken.language = language
    _Spoken.catalogue = {} if language == ENGLISH else read_catalogue(language)
    # What it asks would else be looked for in compiled catalogues, in folders that a variable chooses.
    gettext.dgettext, gettext.dngettext = _dgettext, _dngettext


def in_use(otherwise: str) -> str:
    """Return the language that was asked for on this command line, `otherwise` where none was."""
    return otherwise if _Spoken.language == ENGLISH else _Spoken.language


def _dgettext(domain: str, message: str) -> str:
    return tr(message)


def _dngettext(domain: str, msgid1: str, msgid2: str, n: int) -> str:
    return tr(msgid1 if n == 1 else msgid2)


def read_catalogue(language: str) -> dict[str, str]:
    """Return the words of a language, by the English message."""
    found: dict[str, str] = json.loads((MESSAGES_DIR / f"{language}.json").read_text(encoding="utf-8"))
    return found


def tr(message: str, **values: object) -> str:
    """Return a message in the language in use, with `values` in the places of their names."""
    found = _Spoken.catalogue.get(message, message)
    return found.format(**values) if values else found


def told(text: object) -> str:
    """Return what a lower layer said, or an error of it, in the language in use where it is known."""
    if isinstance(text, BaseException):
        text = text.args[0] if len(text.args) == 1 else str(text)
    if not isinstance(text, Said):
        return str(text)
    found = tr(text.words, **{name: _value(value) for name, value in text.values.items()})
    # A description within a sentence has no full stop.
    return found.removesuffix("\u3002") if text.words.endswith(".") and not text.endswith(".") else found


def _value(value: object) -> object:
    return told(value) if isinstance(value, Said | BaseException) else value


def language_in(arguments: Sequence[str], default: str) -> tuple[list[str], str]:
    """Return the arguments without ``--lang``, and what it says, `default` without one.

    It may stand anywhere, as ``--json`` may. Raises `ValueError` for a language that there is not.
    """
    left, chosen = [], default
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            left += [argument, *rest]
        elif argument == "--lang":
            chosen = next(rest, "")
        elif argument.startswith("--lang="):
            chosen = argument.partition("=")[2]
        else:
            left.append(argument)
    return left, known(chosen)


def known(name: str) -> str:
    """Return a language by its name, also in the form of locales. Raises `ValueError`."""
    plain = name.partition(".")[0].replace("_", "-").lower()
    for language in LANGUAGES:
        if plain == language.lower():
            return language
    raise ValueError(f"there is no language {name!r}; there is: {', '.join(LANGUAGES)}")


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: most Chinese characters take two."""
    return sum(_columns(character) for character in text)


def padded(text: str, columns: int) -> str:
    """Return a text with spaces behind it, as wide as `columns`."""
    return text + " " * (columns - width(text))


def wrapped(text: str, columns: int) -> list[str]:
    """Return the lines of a text, broken at spaces and between Chinese characters."""
    lines, line = [], ""
    for piece in _PIECES.findall(text):
        if line and width(line + piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
