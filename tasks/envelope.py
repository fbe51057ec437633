"""What a message must look like before kombu and Celery see it.

Both take the form of a message for granted: one that is no JSON, or lacks a field, raises in the event loop
and ends the worker. Whoever can send one each second would stop all trading, and every cleanup.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from kombu.utils.json import loads

#: A message of ours takes 1 kB, a signed one 2 kB.
LONGEST_TASK_MESSAGE = 64 * 1024
#: Answers of workers to `inspect` hold lists of tasks.
LONGEST_OTHER_MESSAGE = 4 * 1024 * 1024
#: The body is base64, so what is left is nearly flat: no parser gets into deep recursion.
MOST_BRACKETS = 200

SIGNED = "application/data"
#: Parts signature, certificate, type, encoding and text; only the text is signed.
_SEPARATOR = b"\x00\x01"
_TYPE_PART = 2

#: What kombu's JSON raises: its decoders make dates, decimals and more out of marked values.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def problem_of_envelope(data: bytes, longest: int) -> str | None:
    """Return why kombu must not see this message, None when it may."""
    if len(data) > longest:
        return "oversized"
    if data.count(b"{") + data.count(b"[") > MOST_BRACKETS:
        return "envelope"
    try:
        message = loads(data)  # type: ignore[no-untyped-call]
    except _UNREADABLE:
        return "envelope"
    if not isinstance(message, dict) or not _has_fields(message):
        return "envelope"
    if "compression" in message["headers"]:
        return "compressed"  # kombu unpacks it at once, whatever it becomes
    body = _body(message)
    if body is None:
        return "envelope"
    if message["content-type"] == SIGNED and not _is_signed_json(body):
        return "envelope"
    return None


def _has_fields(message: dict[str, Any]) -> bool:
    """Tell whether everything is there that kombu reads without looking."""
    properties = message.get("properties")
    if not isinstance(properties, dict) or not isinstance(message.get("headers"), dict):
        return False
    delivery = properties.get("delivery_info")
    return (
        isinstance(delivery, dict)
        and isinstance(properties.get("delivery_tag"), str)
        and all(isinstance(delivery.get(name), str) for name in ("exchange", "routing_key"))
        and all(isinstance(message.get(name), str) for name in ("body", "content-type", "content-encoding"))
    )


def _body(message: dict[str, Any]) -> bytes | None:
    encoding = message["properties"].get("body_encoding")
    text: str = message["body"]
    if encoding is None:
        return text.encode("utf-8", "surrogatepass")
    if encoding != "base64":
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def _is_signed_json(body: bytes) -> bool:
    """Tell whether the text in a signed body says that it is JSON: Celery would unpack any other type."""
    try:
        parts = base64.b64decode(body).split(_SEPARATOR, maxsplit=4)
    except (ValueError, binascii.Error):
        return False
    return len(parts) == 5 and parts[_TYPE_PART] == b"application/json"
