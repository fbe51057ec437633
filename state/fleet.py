"""Every instance at a glance, in few round trips however many there are. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from state import keys
from state.record import RECORD_FIELDS, Record, damaged, record_of


@dataclass(frozen=True, kw_only=True)
class Glance:
    """All records at about the same moment."""

    #: State server's time, ms.
    now_ms: int
    records: Mapping[str, Record]
    #: Why a record cannot be read, by instance.
    damaged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """What is long, and so read only where something has changed."""

    #: Books of the run (JSON), empty before the first commit.
    books_json: str
    #: Own orders that the last commit believed open.
    order_ids: tuple[str, ...]
    #: Result of the day (JSON), empty before the first commit.
    daily_json: str = ""


class Fleet:
    """Reads many instances at once. Every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def glance(self) -> Glance:
        """Return the record of every instance ever started."""
        names = sorted(cast("set[str]", self._client.smembers(keys.INSTANCES)))
        pipeline = self._client.pipeline(transaction=False)
        pipeline.time()
        for name in names:
            pipeline.hmget(keys.record(name), RECORD_FIELDS)
        (seconds, microseconds), *rows = cast("Any", pipeline.execute(raise_on_error=False))
        records: dict[str, Record] = {}
        broken: dict[str, str] = {}
        for name, values in zip(names, rows, strict=True):
            try:
                if isinstance(values, redis.ResponseError):
                    raise damaged(name, str(values))
                record = record_of(name, values)
            except ValueError as error:
                broken[name] = str(error)
                continue
            if record is not None:
                records[name] = record
        return Glance(now_ms=seconds * 1000 + microseconds // 1000, records=records, damaged=broken)

    def details(self, names: Sequence[str]) -> dict[str, RunDetails]:
        """Return the details of some instances; those whose record is damaged are left out."""
        rows = self._each(
            names, lambda pipeline, name: pipeline.hmget(keys.record(name), "books", "order_ids", "daily")
        )
        return {
            name: RunDetails(
                books_json=row[0] or "",
                order_ids=tuple(filter(None, (row[1] or "").split(","))),
                daily_json=row[2] or "",
            )
            for name, row in rows.items()
        }

    def configs(self, names: Sequence[str]) -> dict[str, str]:
        """Return the configurations that runs were started with; those that cannot be read are left out."""
        rows = self._each(names, lambda pipeline, name: pipeline.get(keys.config(name)))
        return {name: text for name, text in rows.items() if text}

    def _each(self, names: Sequence[str], ask: Any) -> dict[str, Any]:
        if not names:
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            ask(pipeline, name)
        rows = pipeline.execute(raise_on_error=False)
        found = zip(names, rows, strict=True)
        return {name: row for name, row in found if not isinstance(row, Exception)}
