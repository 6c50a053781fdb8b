"""Starting the web server."""

from __future__ import annotations

from granian.constants import HTTPModes, Interfaces
from granian.server import Server

from service.config import Settings

APPLICATION = "service.app:create_app"


def serve(settings: Settings, application: str = APPLICATION) -> None:
    """Run the web service until SIGINT or SIGTERM."""
    Server(
        application,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=settings.workers,
        blocking_threads=settings.threads,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=True,
        log_access=False,
        workers_kill_timeout=4,
        respawn_failed_workers=True,
        process_name=None,
    ).serve()
