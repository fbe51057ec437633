"""URLs that lead to Sentinels: what is taken, what is refused, and that no password is ever shown."""

from __future__ import annotations

import pytest

from sentinel_url import parse, without_secrets
from settings import SettingsError, load

PASSWORD = "p@s;s"
URL = (
    "sentinel://worker:p%40s%3Bs@one:1001;sentinel://worker:p%40s%3Bs@two/2"
    "?master_name=cleanbook&sentinel_password=hush%26hush"
)


def test_everything_is_read() -> None:
    found = parse(URL)
    assert found.sentinels == (("one", 1001), ("two", 26379))
    assert (found.master_name, found.db) == ("cleanbook", 2)
    assert (found.username, found.password) == ("worker", PASSWORD)
    assert found.sentinel_options == {"password": "hush&hush"}
    assert not found.is_tls


def test_kombu_gets_it_without_the_query_and_with_the_password_for_each() -> None:
    who = "sentinel://worker:p%40s%3Bs@"
    assert parse(URL).bare == f"{who}one:1001/2;{who}two:26379/2"


def test_user_and_password_need_to_be_said_only_once() -> None:
    found = parse("sentinel://u:pw@one;sentinel://two?master_name=x")
    assert found.bare == "sentinel://u:pw@one:26379/0;sentinel://u:pw@two:26379/0"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("ssl=true", {}),
        ("ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
    ],
)
def test_tls_is_for_servers_and_sentinels(query: str, options: dict[str, str]) -> None:
    found = parse(f"sentinel://one?master_name=x&{query}")
    assert found.is_tls
    assert found.tls == options
    assert found.sentinel_options == {"ssl": True, **options}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sentinel://one", "master_name"),
        ("sentinel://one;two:3?master_name=x", "must begin with sentinel://"),
        ("sentinel://?master_name=x", "no host name"),
        ("sentinel://a:b@one;sentinel://a:c@two?master_name=x", "say them once"),
        ("sentinel://one/1;sentinel://two/2?master_name=x", "say them once"),
        ("sentinel://one/x?master_name=x", "must be a number, not 'x'"),
        ("sentinel://one?master_nam=x", "unknown option 'master_nam'"),
        ("sentinel://one?master_name=x&ssl=maybe", "true or false"),
        ("sentinel://one?master_name=x&ssl=false&ssl_ca_certs=/ca", "contradicts"),
    ],
)
def test_what_cannot_be_meant_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        load({"BROKER_URL": url})
    assert "BROKER_URL" in str(caught.value)
    assert ":b@" not in str(caught.value)


def test_a_certificate_that_is_not_checked_is_refused() -> None:
    with pytest.raises(SettingsError, match="ssl_cert_reqs"):
        load({"BROKER_URL": "sentinel://one?master_name=x&ssl=true&ssl_cert_reqs=none"})


def test_state_and_broker_may_both_be_led_by_sentinels() -> None:
    assert load({"BROKER_URL": URL}).state_url == URL


def test_nobody_can_vouch_for_replicas() -> None:
    with pytest.raises(SettingsError, match="may lack what was confirmed"):
        load({"STATE_URL": URL, "CLEANBOOK_STATE_DURABILITY": "always"})


def test_no_password_is_shown() -> None:
    assert without_secrets(URL) == (
        "sentinel://worker:***@one:1001;sentinel://worker:***@two/2?master_name=cleanbook&sentinel_password=***"
    )
    assert "hush" not in repr(parse(URL))
    assert PASSWORD not in repr(parse(URL))
