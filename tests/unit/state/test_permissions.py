"""What is made of the scripts' answers when orders are asked for, and what is waited for before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import redis

from market.orders import Role
from state import permissions
from state.permissions import AuthorizationRefused, Granted, granted, saved_first
from state.scripts import Reply, Scripts, Unconfirmed
from tests.unit.state.told_scripts import Told

NAME = "mm"
ORDERS = [(1, Role.QUOTE), (2, Role.HEDGE)]


def ask(told: Told) -> Granted:
    reply = saved_first(
        lambda: told.call_confirmed("authorize", [], []),
        cast("redis.Redis", None),
        cast("Scripts", told),
        NAME,
    )
    return granted(reply, 9, ORDERS)


def test_a_permission_with_too_few_numbers_is_none() -> None:
    with pytest.raises(ValueError, match="zip"):
        ask(Told(["ok", 5, 6]))


def test_a_refused_permission_says_why() -> None:
    with pytest.raises(AuthorizationRefused, match="not authorised: phase"):
        ask(Told(["refused", "phase"]))


class Cut(Told):
    """The scripts of a server that has lost its replicas."""

    def call_confirmed(self, name: str, names: Sequence[str], arguments: Sequence[str | int]) -> Reply:
        """Tell that nobody has confirmed it."""
        raise Unconfirmed("no replica")


def test_a_permission_that_no_replica_confirms_is_none() -> None:
    with pytest.raises(AuthorizationRefused, match="not authorised: no replica"):
        ask(Cut())


class Disk:
    """Stands for `save`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, keeps: bool) -> None:
        self.waited_for: list[str] = []
        self._keeps = keeps
        monkeypatch.setattr(permissions, "save", self._save)

    def _save(self, _: object, __: object, name: str, what: str) -> bool:
        assert name == NAME
        self.waited_for.append(what)
        return self._keeps


UNSAVED: Reply = ["refused", "unsaved", "start 5"]


def test_what_is_not_on_disk_is_waited_for_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, keeps=True)
    told = Told(UNSAVED, UNSAVED, ["ok", 5, 6, 7])
    assert ask(told).at_ms == 5
    assert disk.waited_for == ["start 5"] * 2


@pytest.mark.parametrize(("keeps", "times"), [(True, 3), (False, 1)])
def test_a_disk_that_is_never_done_refuses(monkeypatch: pytest.MonkeyPatch, keeps: bool, times: int) -> None:
    disk = Disk(monkeypatch, keeps=keeps)
    told = Told(*[UNSAVED] * 4)
    with pytest.raises(AuthorizationRefused, match="not written to its disk: start 5"):
        ask(told)
    assert (len(told.asked), disk.waited_for) == (times, ["start 5"] * times)
