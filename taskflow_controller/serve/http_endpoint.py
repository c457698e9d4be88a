"""Answers HTTP requests at an address, in threads of this process."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from taskflow_controller.errors import ConfigError

REQUEST_SECONDS = 10  # within which a client must send its request
STOP_POLL_SECONDS = 0.1
_MAX_PORT = 65535
_OFF = ("", "0")


def bind_address(text: str) -> str:
    """Return a flag's address, or "" if the flag turns the endpoint off.

    Raises:
        ValueError: the text is not an address.
    """
    if text in _OFF:
        return ""
    split_address(text)
    return text


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``:port``. The host is "" for all addresses.

    Raises:
        ValueError: the text is not an address.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError(f"{address!r} is not an address such as :6789 or 127.0.0.1:6789")
    return host.strip("[]"), int(port)


class HttpEndpoint:
    """Serves one address with a handler class.

    Args:
        flag: where the address comes from, for errors.
        address: where to listen; bound at once.
        handler: handles the requests.

    Attributes:
        port: the port in use, which matters if the address has port 0.

    Raises:
        ConfigError: the address can't be bound.
    """

    def __init__(self, flag: str, address: str, handler: type[BaseHTTPRequestHandler]) -> None:
        host, port = split_address(address)
        limited = type(handler.__name__, (handler,), {"timeout": REQUEST_SECONDS})
        try:
            self._server = _bind(host, port, limited)
        except OSError as exc:
            raise ConfigError(f"{flag} {address}: {exc.strerror or exc}") from exc
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name=flag.strip("-"), daemon=True
        )

    def start(self) -> None:
        """Begin to serve in a daemon thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the address."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    dual_stack = False

    def server_bind(self) -> None:
        if self.dual_stack:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _ServerAll(_Server6):
    dual_stack = True


def _bind(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    if not host and socket.has_dualstack_ipv6():
        return _ServerAll(("::", port), handler)
    return (_Server6 if ":" in host else _Server)((host, port), handler)
