"""Ends of connections that are no orderly ends."""

from __future__ import annotations

import asyncio
import socket
import struct


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with a TCP RST, so that its client sees no orderly end."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Without lingering the kernel sends RST instead of an orderly FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
