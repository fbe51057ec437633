"""Signed task and control messages, if the settings name keys: Celery's `auth` serializer."""

from __future__ import annotations

from pathlib import Path

from celery import Celery
from celery.exceptions import ImproperlyConfigured, SecurityError

from settings import MESSAGE_KEY_FILE, SettingsError


def sign_messages(app: Celery, keys: Path | None) -> None:
    """Let `app` sign what it sends and take nothing else, with the keys in a directory; None changes nothing.

    Raises `SettingsError` for keys that cannot be used, or that others can read.
    """
    if keys is None:
        return
    try:
        readable = (keys / MESSAGE_KEY_FILE).stat().st_mode & 0o077
        app.setup_security()
    except (OSError, SecurityError, ImproperlyConfigured) as error:
        raise SettingsError(
            f"the message keys in {keys} (CLEANBOOK_MESSAGE_KEY_DIR) cannot be used: {error}; "
            f"`manage.py new-message-key {keys}` makes new ones"
        ) from error
    if readable:
        raise SettingsError(f"{keys / MESSAGE_KEY_FILE} can be read by others; chmod 600 it")
