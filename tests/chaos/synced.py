"""What the state server has surely brought to its disk, told by a small library preloaded into it.

`WAITAOF` would be the server's own word for it, but with `appendfsync everysec` some versions give it without
an fsync (measured with Valkey 9.1.2; redis/redis pull request 13793).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("synced_sizes.c")
NOTES_FILE = "synced"


def preloaded(folder: Path) -> dict[str, str]:
    """Return the environment with which a server notes what is on the disk; empty without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {}
    library = folder / "synced_sizes.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        return {}
    return {"LD_PRELOAD": str(library), "CHAOS_SYNCED": str(folder / NOTES_FILE)}


def synced_size(notes: Path, path: Path) -> int | None:
    """Return how much of `path` has come to the disk, None when nothing is known of it."""
    if not notes.exists():
        return None
    inode, sizes = path.stat().st_ino, []
    for line in notes.read_text(encoding="ascii").splitlines():
        found, size = line.split()
        if int(found) == inode:
            sizes.append(int(size))
    return max(sizes, default=None)
