"""The server around the application; it ends promptly, whoever listens."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn

from settings import Settings
from web.app import create_app
from web.services import Services

#: Requests under way get this long at the end; streams are ended at once.
GRACE_S = 5


class Server(uvicorn.Server):
    """Ends open event streams first: uvicorn itself waits for the clients of these."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that the end is asked for; a second Ctrl-C waits for nothing.

        uvicorn's own also has the process die by the signal after a proper end, which looks like a crash.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._services.hub.close()
        await super().shutdown(sockets)


def server_for(settings: Settings, services: Services) -> Server:
    """Return a server that listens when it is run."""
    config = uvicorn.Config(
        create_app(services),
        host=settings.web_host,
        port=settings.web_port,
        # Ours are set up already. Lines of requests would repeat every second what a page asks for.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.web_proxies),
        forwarded_allow_ips=list(settings.web_proxies),
        timeout_graceful_shutdown=GRACE_S,
        # A page asks again within a second or two.
        timeout_keep_alive=20,
        ws="none",
    )
    return Server(config, services)
