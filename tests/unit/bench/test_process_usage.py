"""What /proc says of processes: of this one and a child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from bench.process_usage import Use, cpu_s, ports, pss_mb, total, tree, use_of_group
from tests.support import wait_until


def test_a_tree_has_the_children_of_every_thread() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert {os.getpid(), child.pid} <= set(tree(os.getpid()))
        child.communicate(b"\n")
    assert child.pid not in tree(os.getpid())


def test_cpu_time_grows_with_work_and_is_none_for_the_dead() -> None:
    before_s, end_s = cpu_s([os.getpid()]), time.process_time() + 0.1
    while time.process_time() < end_s:
        pass
    assert cpu_s([os.getpid()]) > before_s
    assert cpu_s([2**22 + 1]) == 0


def test_a_connection_belongs_to_the_process_that_has_it_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        assert client.getsockname()[1] in ports(os.getpid())
        port = client.getsockname()[1]
    assert port not in ports(os.getpid())


def test_memory_has_one_unit_however_it_is_asked_for() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        # Its share of what is shared is another one whenever some other process comes or goes.
        wait_until(lambda: use_of_group(child.pid).pss_mb == pytest.approx(pss_mb([child.pid]), rel=0.01))
        child.communicate(b"\n")


def test_of_two_moments_the_time_is_what_passed_and_the_memory_what_is_left() -> None:
    before = Use(cpu_s=1.5, pss_mb=100, uss_mb=90, processes=2)
    after = Use(cpu_s=2.0, pss_mb=80, uss_mb=70, processes=1)
    assert after.since(before) == Use(cpu_s=0.5, pss_mb=80, uss_mb=70, processes=1)
    assert total([before, after]) == Use(cpu_s=3.5, pss_mb=180, uss_mb=160, processes=3)
