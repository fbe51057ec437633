"""A port for a server that is started later, and again after a crash."""

from __future__ import annotations

import socket

from cli.stack.valkey import PORTS, free_port


def test_it_is_none_of_those_that_the_system_gives_to_whoever_asks_for_any_one() -> None:
    # By default: from 32768 on Linux, from 49152 elsewhere.
    assert all(free_port() in PORTS for _ in range(20))
    assert PORTS.stop <= 32_768


def test_the_one_that_is_wanted_is_given_unless_somebody_has_it() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.create_server(("127.0.0.1", wanted)):
        assert free_port(wanted) in set(PORTS) - {wanted}
