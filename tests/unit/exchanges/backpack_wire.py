"""What the tests of Backpack's requests and answers share: addresses, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from market.orders import NewOrder

BASE = "http://backpack.test"
ORDER = f"{BASE}/api/v1/order"
ORDERS = f"{BASE}/api/v1/orders"
NOT_FOUND = {"code": "RESOURCE_NOT_FOUND", "message": "Not Found"}

NewOrderFactory = Callable[..., NewOrder]
WireOrder = Callable[..., dict[str, Any]]


def body_of(call: Any) -> Any:
    """Return the JSON that a request carried."""
    return json.loads(call.request.body)


def query_of(call: Any) -> dict[str, str]:
    """Return the parameters of a request, each of which it has once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(call.request.url).query).items()}
