"""What a stop does with the orders and the position of an instance."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class StopPolicy:
    """What a stop does with what the instance has on the exchange."""

    #: False: own orders stay on the book.
    cancel_orders: bool = True
    #: True: the account's whole position in the symbol is brought to zero after the orders are gone.
    close_position: bool = False
    #: True: what this run opened is brought back to where its strategy leaves it, after the orders are gone.
    unwind: bool = False

    def to_json(self) -> str:
        """Return the policy as kept in the record."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StopPolicy:
        """Return the policy that `to_json` wrote; the default for an empty text.

        And for one that is damaged: a stop has to go on, and cancels then.
        """
        try:
            policy = cls(**json.loads(text)) if text else cls()
        except (ValueError, TypeError, RecursionError):
            return cls()
        return policy if all(isinstance(value, bool) for value in asdict(policy).values()) else cls()
