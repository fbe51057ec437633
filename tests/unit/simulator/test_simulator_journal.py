"""The witness: who may ask it for what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulator import journal
from simulator.journal import Journal
from tests.unit.simulator.loopback import BID, Client, running


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        client.place(clientId=1)
        client.place(price="160", timeInForce="IOC")
        client.post("/sim/orders", {**BID, "account": "other", "price": "160", "timeInForce": "IOC"})
        client.get("/api/v1/ping")
        yield client


def asked(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/sim/journal", **query)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()
    return entries


@pytest.mark.parametrize("account", [None, "demo", "other"])
@pytest.mark.parametrize("events", [None, "fill", "request", ["fill", "order_accepted"]])
@pytest.mark.parametrize("since", [0, 3])
def test_entries_are_asked_for_by_account_and_by_event(
    client: Client, account: str | None, events: str | list[str] | None, since: int
) -> None:
    expected = [
        entry
        for entry in asked(client)
        if entry["n"] > since
        and account in {None, entry["account"]}
        and (events is None or entry["event"] in ([events] if isinstance(events, str) else events))
    ]
    query = {"since": since, "account": account, "event": events}
    assert asked(client, **{name: value for name, value in query.items() if value is not None}) == expected


def test_a_text_that_looks_like_an_event_is_none(client: Client) -> None:
    client.get('/x"event":"fill","account":"other"')
    fills = asked(client, event="fill")
    assert [entry["event"] for entry in fills] == ["fill"] * len(fills)
    assert len(fills) == 2
    assert {entry["event"] for entry in asked(client, account="other")} == {"order_accepted", "fill"}


@pytest.mark.parametrize(("query", "status"), [({"account": "demi"}, 404), ({"event": "fills"}, 400)])
def test_what_nobody_could_have_written_is_refused(
    client: Client, query: dict[str, str], status: int
) -> None:
    assert client.get("/sim/journal", **query).status_code == status


def test_the_headers_tell_what_is_kept_whatever_is_asked_for(client: Client) -> None:
    everything = asked(client)
    headers = client.get("/sim/journal", event="order_modified").headers
    assert (headers["X-JOURNAL-FIRST"], headers["X-JOURNAL-LAST"]) == ("1", str(everything[-1]["n"]))


def test_a_full_memory_forgets_the_oldest_entries_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT", 3)
    witness = Journal(lambda: 1)
    assert (witness.first_kept, witness.last) == (1, 0)
    for number in range(5):
        witness.write("fill" if number % 2 else "request", account="demo")
    assert (witness.first_kept, witness.last) == (3, 5)
    assert [entry["n"] for entry in witness.since(0)] == [3, 4, 5]
    assert [entry["n"] for entry in witness.since(4)] == [5]
    assert witness.lines_since(5) == []


def test_an_event_that_could_not_be_asked_for_is_not_written() -> None:
    with pytest.raises(ValueError, match="'filled'"):
        Journal(lambda: 1).write("filled")
