"""Become another program that dies with its parent: ``python child.py PARENT_PID PROGRAM ARGUMENT...``

Run as a script by `processes.py`, in the child itself: doing this between fork and exec of a threaded parent
could deadlock. Standard library only, since it runs without site-packages.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: Linux: deliver a signal when the parent ends, even by SIGKILL.
PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process with `command`. Does not return."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call above
            sys.exit(1)
    # Python started this with SIGPIPE ignored; the program expects the system's own ways.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
