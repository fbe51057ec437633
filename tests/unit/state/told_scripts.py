"""Stands for the scripts: what they are asked is noted, and their answers are a test's."""

from __future__ import annotations

from collections.abc import Sequence

from state.scripts import Reply


class Told:
    """Stands for the scripts: notes what they are asked, and gives the answers of a test."""

    def __init__(self, *answers: Reply) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, list[str], list[str | int]]] = []

    def call(self, name: str, names: Sequence[str], arguments: Sequence[str | int]) -> Reply:
        """Answer."""
        self.asked.append((name, list(names), list(arguments)))
        return self.answers.pop(0)

    def call_confirmed(self, name: str, names: Sequence[str], arguments: Sequence[str | int]) -> Reply:
        """Answer likewise."""
        return self.call(name, names, arguments)

    def call_int(self, name: str, names: Sequence[str], arguments: Sequence[str | int]) -> int:
        """Answer with the one number."""
        return int(self.call(name, names, arguments)[0])
