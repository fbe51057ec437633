"""What the guard has to know when the state server is gone: a small file, written when something changes."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from guard.watched import Watched
from sentinel_url import without_secrets

log = structlog.get_logger(__name__)

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Whom to act for. Holds no secret: names of environment variables, and fingerprints of public keys."""

    instances: Mapping[str, Watched] = field(default_factory=dict)
    #: Account to the fingerprint of another key that was seen to open it.
    proven: Mapping[str, str] = field(default_factory=dict)
    #: Instance to the run that has to be stopped because its orders were cancelled.
    stops_owed: Mapping[str, int] = field(default_factory=dict)


class Memory:
    """The file of one guard for one state server. Another server's instances are not ours to act for."""

    def __init__(self, path: Path, state_url: str) -> None:
        self._path = path
        #: Which server, without user and password.
        self._server = re.sub(r"(?<=://)[^/@;]*@", "", without_secrets(state_url))
        self._saved: Remembered | None = None

    @property
    def path(self) -> Path:
        """Return where it is."""
        return self._path

    def load(self) -> Remembered:
        """Return what was saved; nothing, with a word in the log, when there is none that can be used."""
        try:
            content = self._read()
            if content["version"] != VERSION:
                raise ValueError(f"it has layout {content['version']}, this version knows {VERSION}")
            if content["server"] != self._server:
                raise ValueError(f"it is about {content['server']}, and this guard watches {self._server}")
            found = Remembered(
                instances={name: Watched(**values) for name, values in content["instances"].items()},
                proven=dict(content["proven"]),
                stops_owed=dict(content["stops_owed"]),
            )
        except FileNotFoundError:
            return Remembered()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("memory not used", file=str(self._path), why=f"{type(error).__name__}: {error}")
            return Remembered()
        self._saved = found
        return found

    def save(self, remembered: Remembered) -> None:
        """Keep what has changed. A disk that is full is told of, and tried again with the next change."""
        if remembered == self._saved:
            return
        content = {
            "version": VERSION,
            "server": self._server,
            "instances": {name: asdict(one) for name, one in remembered.instances.items()},
            "proven": dict(remembered.proven),
            "stops_owed": dict(remembered.stops_owed),
        }
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.error("memory not saved", file=str(self._path), error=str(error))
            return
        self._saved = remembered

    def _read(self) -> Any:
        with self._path.open(encoding="utf-8") as file:
            # It says where signed requests go: nobody else may have written it.
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ValueError("it belongs to, or may be written by, somebody else; remove it")
            return json.load(file)
