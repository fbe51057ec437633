"""What /proc says of processes: of this one and a child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from bench.process_usage import cpu_s, ports, tree


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
