"""Single keys from a terminal, as they are pressed."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

#: What the keys send that are no characters.
NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "interrupt",
}


@contextmanager
def single_keys() -> Iterator[int]:
    """Let the terminal send each key at once and print none; give its descriptor."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def next_keys(descriptor: int, wait_s: float) -> list[str]:
    """Return the keys pressed: characters and `NAMES`' values; none when none came in time."""
    ready, _, _ = select.select([descriptor], [], [], wait_s)
    if not ready:
        return []
    text = os.read(descriptor, 32).decode(errors="ignore")
    if not text:
        # The terminal has gone.
        return ["interrupt"]
    return keys_in(text)


def keys_in(text: str) -> list[str]:
    """Return the keys whose characters arrived together, as of somebody who types fast."""
    found = []
    while text:
        sent = next((sent for sent in NAMES if text.startswith(sent)), text[0])
        key = NAMES.get(sent, sent)
        if len(key) > 1 or key.isprintable():
            found.append(key)
        text = text[len(sent) :]
    return found
