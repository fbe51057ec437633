"""What people change of a run while it goes on: pause it, resume it, give it another configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import redis

from state import keys
from state.instances import Instances
from state.scripts import Scripts


@dataclass(frozen=True, kw_only=True)
class ChangeResult:
    """Answer of a change."""

    #: ``paused``, ``resumed`` or ``changed`` (this call did it); ``joined`` (it was paused before);
    #: ``running`` (there is nothing to resume); ``conflict`` (its configuration is another one by now);
    #: ``stale`` (another run's epoch); else the phase that stands in the way.
    result: str
    epoch: int
    #: State server's time of the change, ms; with ``joined`` that of the one before it.
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of a run as it stands in Redis."""

    #: 0 where the record does not say.
    epoch: int
    version: str
    #: Empty when there is none to be read.
    config_json: str


class RunChanges:
    """Changes of running instances. Every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts
        self._instances = Instances(client, scripts)

    def pause(self, instance_id: str, *, by: str, reason: str, epoch: int = 0) -> ChangeResult:
        """Close the gate until `resume`; when this returns, no `authorize` of the run succeeds.

        With `epoch`, only that run is paused. What rests is withdrawn by the iterations that follow.
        """
        return self._call("pause", instance_id, [], [instance_id, epoch, by, reason])

    def resume(self, instance_id: str, *, by: str, epoch: int = 0) -> ChangeResult:
        """Open the gate again and have the run iterate now."""
        return self._call("resume", instance_id, [], [instance_id, epoch, by])

    def change_config(
        self,
        instance_id: str,
        *,
        epoch: int,
        base_version: str,
        version: str,
        config_json: str,
        by: str,
        changed_json: str,
    ) -> ChangeResult:
        """Have the next iteration of a run, and all after it, use another configuration.

        Only if the run still has `base_version`. `changed_json` tells in the event what is another.
        """
        arguments: list[str | int] = [
            instance_id,
            epoch,
            base_version,
            version,
            config_json,
            by,
            changed_json,
        ]
        return self._call("change_config", instance_id, [keys.config(instance_id)], arguments)

    def config_of_run(self, instance_id: str) -> RunConfig:
        """Return the configuration of the current run with its version, read at one moment."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(keys.record(instance_id), "epoch", "config_version")
        pipeline.get(keys.config(instance_id))
        record, text = cast("Any", pipeline.execute(raise_on_error=False))
        for answer in (record, text):
            # A key of the wrong type is damage, of which nothing can be read.
            if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
                raise answer
        epoch, version = (None, None) if isinstance(record, Exception) else record
        return RunConfig(
            epoch=int(epoch) if epoch and epoch.isdecimal() else 0,
            version=version or "",
            config_json="" if isinstance(text, Exception) else text or "",
        )

    def _call(
        self, name: str, instance_id: str, more_keys: list[str], arguments: list[str | int]
    ) -> ChangeResult:
        names = [keys.record(instance_id), *more_keys, keys.DUE, keys.EVENTS, keys.WAKE]
        result, epoch, at_ms = self._scripts.call(name, names, arguments)
        if result == "damaged":
            self._instances.fail(instance_id)
            result, epoch, at_ms = self._scripts.call(name, names, arguments)
        return ChangeResult(result=str(result), epoch=int(epoch), at_ms=int(at_ms))
