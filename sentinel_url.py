"""URLs of servers that Sentinels watch over: ``sentinel://user:pw@one:26379;sentinel://two:26379/0?master_name=cleanbook``.

Used by everything that connects, so it imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from wording import said

SCHEME = "sentinel"
DEFAULT_PORT = 26379
#: A Sentinel that takes longer to answer is passed over.
SENTINEL_TIMEOUT_S = 0.5
#: What may follow the question mark, besides `ssl_ca_certs` and its like.
OPTIONS = ("master_name", "sentinel_username", "sentinel_password", "ssl")


@dataclass(frozen=True, kw_only=True)
class SentinelUrl:
    """Where the Sentinels are, whom to ask them for, and who we are at that server."""

    sentinels: tuple[tuple[str, int], ...]
    #: The name under which the Sentinels know the group of servers.
    master_name: str
    db: int = 0
    #: Of the servers themselves.
    username: str = ""
    password: str = field(default="", repr=False)
    #: Of the Sentinels, where they ask for one.
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    #: Both the Sentinels and the servers speak TLS.
    is_tls: bool = False
    #: Options of redis-py whose names begin with ``ssl_``.
    tls: Mapping[str, str] = field(default_factory=dict)

    @property
    def bare(self) -> str:
        """Return the URL as kombu takes it: without a query, and with user and password for each Sentinel."""
        who = ""
        if self.username or self.password:
            who = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"
        return ";".join(f"{SCHEME}://{who}{_host(host)}:{port}/{self.db}" for host, port in self.sentinels)

    @property
    def sentinel_options(self) -> dict[str, object]:
        """Return what redis-py needs beyond an address to connect to one of the Sentinels."""
        found: dict[str, object] = {}
        if self.sentinel_username:
            found["username"] = self.sentinel_username
        if self.sentinel_password:
            found["password"] = self.sentinel_password
        if self.is_tls:
            found |= {"ssl": True, **self.tls}
        return found


def is_sentinel(url: str) -> bool:
    """Tell whether `url` leads to Sentinels."""
    return url.startswith(f"{SCHEME}://")


def parse(url: str) -> SentinelUrl:
    """Return what `url` says. Raises `ValueError`, which names what is wrong and never a password."""
    sentinels: list[tuple[str, int]] = []
    people: set[tuple[str, str]] = set()
    databases: set[str] = set()
    options: dict[str, str] = {}
    for text in url.split(";"):
        if not is_sentinel(text):
            raise ValueError(said("each part between semicolons must begin with {scheme}://", scheme=SCHEME))
        parts = urlsplit(text)
        if not parts.hostname:
            raise ValueError(said("a Sentinel has no host name"))
        sentinels.append((parts.hostname, parts.port or DEFAULT_PORT))
        if parts.username or parts.password:
            people.add((unquote(parts.username or ""), unquote(parts.password or "")))
        databases |= {parts.path.strip("/")} - {""}
        options |= dict(parse_qsl(parts.query))
    if len(people) > 1 or len(databases) > 1:
        raise ValueError(
            said("user, password and database belong to the one server that leads: say them once")
        )
    database = databases.pop() if databases else "0"
    if not database.isdecimal():
        raise ValueError(
            said("the database after the slash must be a number, not {database}", database=repr(database))
        )
    _check(options)
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    username, password = people.pop() if people else ("", "")
    return SentinelUrl(
        sentinels=tuple(sentinels),
        master_name=options["master_name"],
        db=int(database),
        username=username,
        password=password,
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        is_tls=options.get("ssl") == "true" or bool(tls),
        tls=tls,
    )


def _check(options: Mapping[str, str]) -> None:
    unknown = [name for name in options if name not in OPTIONS and not name.startswith("ssl_")]
    if unknown:
        raise ValueError(
            said(
                "unknown option {name}; known are {names} and ssl_…",
                name=repr(unknown[0]),
                names=", ".join(OPTIONS),
            )
        )
    if not options.get("master_name"):
        raise ValueError(said("it needs ?master_name=, the name of the group that the Sentinels watch"))
    if options.get("ssl", "true") not in ("true", "false"):
        raise ValueError(said("ssl must be true or false"))
    if options.get("ssl") == "false" and any(name.startswith("ssl_") for name in options):
        raise ValueError(said("ssl=false contradicts the ssl_… options"))


def without_secrets(url: str) -> str:
    """Return `url` of any scheme with every password replaced by stars, fit for a log or a screen."""
    shown = re.sub(r"(?<=://)([^/@:;]*):[^@;]*@", r"\1:***@", url)
    return re.sub(r"(?<=sentinel_password=)[^&;]*", "***", shown)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
