"""What the exchange answers when it says no."""

from __future__ import annotations


class Refusal(Exception):
    """Raised when a request is refused: becomes the documented error body `{"code", "message"}`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class BadRequest(Exception):
    """Raised when a request cannot be parsed: becomes plain text, as on the real exchange."""


def not_found() -> Refusal:
    """Return the answer for an order that does not rest."""
    return Refusal("RESOURCE_NOT_FOUND", "Not Found", 404)
