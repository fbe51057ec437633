"""How a process that runs until it is told to end does so in time, whatever hangs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from cli.exit_codes import ExitCode

#: A supervisor may be asked to wait two seconds for the end.
END_S = 1.8


def end_by_signals(end: Callable[[], None]) -> None:
    """Call `end` on SIGTERM or Ctrl-C, and be gone `END_S` later at the latest.

    For processes that hold nothing which does not end by itself.
    """

    def on_signal(_: int, __: FrameType | None) -> None:
        end()
        last_word = threading.Timer(END_S, os._exit, args=(ExitCode.DONE,))
        last_word.daemon = True
        last_word.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
