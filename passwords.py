"""Secrets that a program makes for itself, kept in files that nobody else can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from wording import said

#: Of randomness in a password.
SECRET_BYTES = 18


class PasswordFileError(Exception):
    """Raised for a file of ours that others can read or that is empty; says what to do."""


def kept_password(path: Path) -> str:
    """Return the password in a file that only its owner can read; make it where there is none.

    Raises `PasswordFileError` for a file that others can read, and for an empty one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_password(path)
    password = secrets.token_urlsafe(SECRET_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{password}\n")
    return password


def require_private(path: Path) -> None:
    """Raise `PasswordFileError` unless `path` is ours and closed to everybody else."""
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PasswordFileError(
            said("{path} can be read by others; remove it, and a new one is made", path=path)
        )


def _read_password(path: Path) -> str:
    require_private(path)
    password = path.read_text(encoding="utf-8").strip()
    if not password:
        raise PasswordFileError(said("{path} is empty; remove it, and a new password is made", path=path))
    return password
