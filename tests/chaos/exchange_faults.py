"""Faults of the exchange."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.faults import Fault, World


@dataclass(kw_only=True)
class BadExchange(Fault):
    """The exchange answers badly, late, or not at all."""

    rules: list[dict[str, object]] = field(default_factory=list)

    def begin(self, world: World) -> None:
        """Put the rules in force."""
        said = ", ".join(f"{rule['kind']} {rule.get('probability', 1):.0%}" for rule in self.rules)
        self.detail = f"{said} for {self.hold_s:.1f} s"
        world.exchange.put_fault(id(self), self.rules)

    def end(self, world: World) -> None:
        """Be well-behaved again."""
        world.exchange.put_fault(id(self), [])
