"""Follow the log files of several processes at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cli.stack.processes import ManagedProcess


@dataclass(kw_only=True)
class _Followed:
    process: ManagedProcess
    offset: int = 0
    #: The beginning of a line whose end is not written yet.
    rest: str = field(default="")


class LogFollower:
    """Gives what was written since the last look."""

    def __init__(self, processes: Iterable[ManagedProcess]) -> None:
        self._followed = [_Followed(process=process) for process in processes]

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """Yield (process name, line) for every line completed since the last call."""
        for followed in self._followed:
            try:
                with followed.process.log_file.open("rb") as file:
                    file.seek(followed.offset)
                    written = file.read()
            except FileNotFoundError:
                continue
            followed.offset += len(written)
            *complete, followed.rest = (followed.rest + written.decode(errors="replace")).split("\n")
            for text in complete:
                yield followed.process.name, text
