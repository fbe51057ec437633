"""Somebody who is not us, at the same exchange."""

from __future__ import annotations

import json
import time

from exchanges.backpack.client import BackpackClient, Request
from exchanges.backpack.config import DEMO_CREDENTIALS, BackpackConfig
from exchanges.budget import RequestKind, UnlimitedBudget


class Human:
    """Somebody who trades by hand with the account that the instances use."""

    def __init__(self, url: str) -> None:
        self._client = BackpackClient(
            BackpackConfig(base_url=url),
            DEMO_CREDENTIALS,
            UnlimitedBudget(),
        )
        self._order_ids: list[str] = []

    def bid(self, price: str, *, client_id: int | None = None) -> str:
        """Rest a bid; return its id."""
        order: dict[str, str | int | bool] = {
            "symbol": "SOL_USDC",
            "side": "Bid",
            "orderType": "Limit",
            "price": price,
            "quantity": "0.1",
        }
        if client_id is not None:
            order["clientId"] = client_id
        answer = self._send("POST", RequestKind.PLACE, "orderExecute", order)
        self._order_ids.append(str(answer["id"]))
        return self._order_ids[-1]

    def leave(self) -> None:
        """Cancel what is left and go."""
        for order_id in self._order_ids:
            self._send(
                "DELETE", RequestKind.CANCEL, "orderCancel", {"symbol": "SOL_USDC", "orderId": order_id}
            )
        self._client.close()

    def _send(
        self, method: str, kind: RequestKind, instruction: str, payload: dict[str, str | int | bool]
    ) -> dict[str, str]:
        answer = self._client.send(
            Request(
                method=method,
                path="/api/v1/order",
                kind=kind,
                payload=payload,
                instruction=instruction,
                timestamp_ms=int(time.time() * 1000),
                window_ms=5000,
            )
        )
        assert answer.status == 200, answer.body
        found: dict[str, str] = json.loads(answer.body)
        return found
