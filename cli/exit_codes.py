"""How every command ends, for scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of a command says; of several instances the highest counts."""

    #: Done; after a stop: and clean, by the exchange's own word.
    DONE = 0
    #: Something went wrong, or stood in the way.
    FAILED = 1
    #: The command or a configuration is wrong; nothing was changed.
    BAD_USAGE = 2
    #: Stopped or paused, but not known to have no own order left: what is known was printed.
    NOT_CLEAN = 3
    #: The state server, the broker, the exchange or the ledger's database cannot be reached.
    UNREACHABLE = 4
    #: There is no receipt of what was asked for.
    NOT_FOUND = 5


#: For the help of every command; the form feed keeps click from joining the lines.
EPILOG = """\b
Exit codes:
  0  done; after a stop: and clean
  1  failed
  2  bad usage or configuration; nothing was changed
  3  stopped or paused, but own orders may be left: what is known is printed
  4  state server, broker, exchange or ledger not reachable
  5  receipt only: there is none
"""
#: For the help of the commands of the ledger.
LEDGER_EPILOG = (
    f"{EPILOG}     a ledger that is away loses nothing: bookings wait for it; for a state\n"
    "     server that is away these commands warn, and show what the ledger has\n"
)
