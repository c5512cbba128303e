"""Listen for HTTP at the configured address, and listen again when the configuration changes.

Reads: health.enabled, bind, port, token_file.
Emits: the address in RUN_DIR/healthd.address, while the server listens.
Fails: a busy port is reported and tried again; if the new token cannot be used, the old one stays; if the first one
    cannot, nobody can open the page until its file can be read.
"""

from __future__ import annotations

from common import atomic_file
from common.config import ConfigError
from common.service import Service
from common.settings import Health
from common.token_file import TokenFile
from healthd.http import access
from healthd.http.access import CODE_FILE, LOGIN, Access
from healthd.http.connection import Reply, Request
from healthd.http.endpoints import Endpoints
from healthd.http.server import HttpServer
from healthd.page.history import History
from healthd.report import View

RETRY_S = 2.0


class Listener:
    """The HTTP server, while it listens, and its endpoints.

    Args:
        process: healthd's.
        view: the first one.

    Attributes:
        endpoints: what is answered.
        errors: why the page cannot be opened.
    """

    def __init__(self, process: Service, view: View) -> None:
        self._process = process
        self._address_file = process.run_dir / "healthd.address"
        self._address_file.unlink(missing_ok=True)
        self._server: HttpServer | None = None
        token, self.errors = _first_token(process.config.settings.health)
        self.endpoints = self._endpoints(view, token)

    def listen(self) -> None:
        """Listen, unless the server listens already or is disabled."""
        health = self._process.config.settings.health
        if not health.enabled or self._server is not None:
            return
        try:
            self._server = HttpServer(health.bind, health.port, self._answer, self._process.log, {LOGIN})
        except OSError as error:
            where = f"{health.bind} port {health.port}"
            self._process.failed(f"cannot listen on {where}, trying again: {error.strerror or error}")
            return
        self._process.worked()
        atomic_file.write(self._address_file, f"{self._server.address}\n")
        self._process.log.info("listening", address=self._server.address)

    def reopen(self, view: View) -> None:
        """Apply a new token, and close an address that is no longer configured."""
        health, server = self._process.config.settings.health, self._server
        try:
            endpoints = self._endpoints(view, access.token(health))
        except ConfigError as error:
            self._process.log.error("the old token stays in use", errors=error.messages)  # noqa: TRY400
        else:
            self.errors = ()
            endpoints.latest = self.endpoints.latest
            self.endpoints.close()
            self.endpoints = endpoints
        if server is not None and not (health.enabled and server.asked_for == (health.bind, health.port)):
            self._stop()
        self._process.worked()  # what failed before failed with the old address

    def close(self) -> None:
        """Close the server and end all streams."""
        self._stop()
        self.endpoints.close()

    def _answer(self, request: Request) -> Reply:
        """Return an answer; called on the connections' threads."""
        return self.endpoints.answer(request)

    def _stop(self) -> None:
        if self._server is not None:
            self._address_file.unlink(missing_ok=True)
            self._server.close()
            self._server = None

    def _endpoints(self, view: View, token: TokenFile | None) -> Endpoints:
        settings = self._process.config.settings
        history = History(settings.storage.path, settings.device.links)
        device = {"id": settings.device.id, "name": settings.device.name}
        door = Access(token, self._process.run_dir / CODE_FILE, self._process.log)
        return Endpoints(view, history, device, door)


def _first_token(health: Health) -> tuple[TokenFile | None, tuple[str, ...]]:
    """Return what opens the door, and why nothing does until its file is mended."""
    try:
        return access.token(health), ()
    except ConfigError as error:
        assert health.token_file is not None  # noqa: S101 - it is what cannot be read
        errors = (f"{text}; nobody can open the page until it is mended" for text in error.messages)
        return TokenFile(health.token_file, reads=False), tuple(errors)
