"""Logins of people: a signed cookie, so that a restart of the server ends none of them.

The signing key is made of a file of our own and the password: another password ends every login.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

KEY_FILE = "web-session-key"
COOKIE = "cleanbook_session"


class Sessions:
    """Makes and checks cookies."""

    def __init__(
        self, *, password: str, key: str, lasts_s: float, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._password = hashlib.sha256(password.encode()).digest()
        self._key = hmac.new(key.encode(), password.encode(), hashlib.sha256).digest()
        self._clock_s = clock_s
        self.lasts_s = lasts_s
        #: Logged out, to when they would have ended. Lost at a restart: the browser has forgotten them, too.
        self._ended: dict[str, int] = {}

    def is_password(self, text: str) -> bool:
        """Tell whether this is the password, in a time that does not depend on the answer."""
        return hmac.compare_digest(hashlib.sha256(text.encode()).digest(), self._password)

    def make(self) -> str:
        """Return the cookie of a new login."""
        head = f"{secrets.token_urlsafe(18)}.{int(self._clock_s() + self.lasts_s)}"
        return f"{head}.{self._signed('session', head)}"

    def is_valid(self, cookie: str) -> bool:
        """Tell whether a cookie is one of ours, and neither over nor logged out."""
        head, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._signed("session", head).encode(), signature.encode()):
            return False
        return int(head.rpartition(".")[2]) > self._clock_s() and head not in self._ended

    def end(self, cookie: str) -> None:
        """Log out."""
        head = cookie.rpartition(".")[0]
        now_s = self._clock_s()
        self._ended = {each: until_s for each, until_s in self._ended.items() if until_s > now_s}
        self._ended[head] = int(head.rpartition(".")[2])

    def csrf(self, cookie: str) -> str:
        """Return what a page of this login sends along with every change."""
        return self._signed("csrf", cookie)

    def is_csrf(self, cookie: str, token: str) -> bool:
        """Tell whether a token belongs to a login."""
        return hmac.compare_digest(self.csrf(cookie).encode(), token.encode())

    def _signed(self, what: str, text: str) -> str:
        return hmac.new(self._key, f"{what}:{text}".encode(), hashlib.sha256).hexdigest()
