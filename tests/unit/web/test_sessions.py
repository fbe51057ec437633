from __future__ import annotations

from web.login_limit import MOST_FAILURES, WINDOW_S, LoginLimit
from web.sessions import Sessions


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def sessions(clock: Clock, *, password: str = "correct horse", key: str = "key") -> Sessions:
    return Sessions(password=password, key=key, lasts_s=60, clock_s=clock)


def test_only_the_password_is_the_password() -> None:
    known = sessions(Clock())
    assert known.is_password("correct horse")
    assert not any(known.is_password(text) for text in ("", "correct horse ", "Correct horse", "é"))


def test_a_login_lasts_its_time_and_survives_a_restart() -> None:
    clock = Clock()
    cookie = sessions(clock).make()
    again = sessions(clock)
    assert again.is_valid(cookie)
    clock.now_s += 61
    assert not again.is_valid(cookie)


def test_another_password_or_key_ends_every_login() -> None:
    clock = Clock()
    cookie = sessions(clock).make()
    assert not sessions(clock, password="battery staple").is_valid(cookie)
    assert not sessions(clock, key="other").is_valid(cookie)


def test_a_changed_cookie_is_none_of_ours() -> None:
    clock = Clock()
    known = sessions(clock)
    name, until, signature = known.make().split(".")
    later = f"{name}.{int(until) + 1000}.{signature}"
    for spoiled in (later, f"x{name}.{until}.{signature}", f"{name}.{until}.", "", ".", "..", "é.é.é"):
        assert not known.is_valid(spoiled)


def test_who_logged_out_is_out_and_others_are_not() -> None:
    known = sessions(Clock())
    one, other = known.make(), known.make()
    known.end(one)
    assert not known.is_valid(one)
    assert known.is_valid(other)


def test_a_csrf_token_belongs_to_one_login() -> None:
    known = sessions(Clock())
    one, other = known.make(), known.make()
    assert known.is_csrf(one, known.csrf(one))
    assert not known.is_csrf(other, known.csrf(one))
    assert not known.is_csrf(one, "")


def test_wrong_passwords_make_an_address_wait_and_no_other() -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for _ in range(MOST_FAILURES):
        assert limit.wait_s("192.0.2.1") == 0
        limit.failed("192.0.2.1")
    assert limit.wait_s("192.0.2.1") == WINDOW_S
    assert limit.wait_s("192.0.2.2") == 0
    clock.now_s += WINDOW_S
    assert limit.wait_s("192.0.2.1") == 0


def test_one_network_of_ipv6_counts_as_one() -> None:
    limit = LoginLimit(Clock())
    for number in range(MOST_FAILURES):
        limit.failed(f"2001:db8::{number + 1}")
    assert limit.wait_s("2001:db8::ffff") > 0
    assert limit.wait_s("2001:db8:0:1::1") == 0


def test_a_login_forgives_what_was_wrong_before() -> None:
    limit = LoginLimit(Clock())
    for _ in range(MOST_FAILURES):
        limit.failed("192.0.2.1")
    limit.succeeded("192.0.2.1")
    assert limit.wait_s("192.0.2.1") == 0
