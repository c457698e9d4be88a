"""Connects to the API server with the controller's own credentials, and keeps connections for reuse."""

import asyncio
import os
import ssl
import time
import weakref
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit

import h11
from kubernetes import client
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.utils.keepalive import tcp_keepalive_socket_options

from taskflow_controller.kube.api import CONNECT_TIMEOUT
from taskflow_controller.proxy.answers import ProxyError
from taskflow_controller.proxy.connection import Connection
from taskflow_controller.proxy.headers import Headers

IDLE_SECONDS = 15.0  # shorter than any load balancer would keep an idle connection
MAX_IDLE = 64
CREDENTIALS_SECONDS = 10.0


@dataclass
class _Idle:
    connection: Connection
    since: float = field(default_factory=time.monotonic)


class Upstream:
    """Opens connections to the server that a client configuration names. Use it in the event loop only."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration
        self.server: SplitResult = urlsplit(configuration.host)
        self._idle: deque[_Idle] = deque()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._context: tuple[object, ssl.SSLContext] | None = None
        self._credentials: tuple[float, Headers] | None = None
        self._renewing = asyncio.Lock()

    async def credentials(self) -> Headers:
        """Return the headers with the controller's credentials. They are read again every ``CREDENTIALS_SECONDS``."""
        async with self._renewing:
            if self._credentials is None or time.monotonic() - self._credentials[0] > CREDENTIALS_SECONDS:
                # In a thread, because a kubeconfig may name a program that prints the token.
                headers = await asyncio.to_thread(self._read_credentials)
                self._credentials = time.monotonic(), headers
            return self._credentials[1]

    def _read_credentials(self) -> Headers:
        settings = self._configuration.auth_settings().values()
        return [(setting["key"].encode(), setting["value"].encode()) for setting in settings if setting["value"]]

    def reuse(self) -> Connection | None:
        """Return a kept connection that seems to be open, or None if there is none."""
        while self._idle:
            idle = self._idle.pop()
            if idle.connection.usable and time.monotonic() - idle.since < IDLE_SECONDS:
                return idle.connection
            idle.connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        """Take a connection back after its answer was read to the end."""
        if not connection.next_message():
            connection.close()
            return
        self._idle.append(_Idle(connection))
        while len(self._idle) > MAX_IDLE or time.monotonic() - self._idle[0].since > IDLE_SECONDS:
            self._idle.popleft().connection.close()

    def close(self) -> None:
        """End every connection at once, including those that are being closed."""
        for transport in self._transports:
            transport.abort()

    async def connect(self) -> Connection:
        """Open a new connection.

        Raises:
            ProxyError: the API server can't be reached; the text says why.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connect()
        except TimeoutError as exc:
            text = f"the API server {self.server.netloc} did not accept a connection in {CONNECT_TIMEOUT:g} s"
            raise ProxyError(HTTPStatus.GATEWAY_TIMEOUT, text) from exc
        except OSError as exc:  # an SSLError is one
            text = f"the API server {self.server.netloc} can't be reached: {_cause(exc)}"
            raise ProxyError(HTTPStatus.BAD_GATEWAY, text) from exc

    async def _connect(self) -> Connection:
        server, context = self.server, self._tls()
        name = self._configuration.tls_server_name or server.hostname
        via = self._configuration.proxy
        if via and not should_bypass_proxies(self._configuration.host, self._configuration.no_proxy or ""):
            reader, writer = await self._through(urlsplit(via))
            if context:
                await writer.start_tls(context, server_hostname=name)
        else:
            reader, writer = await asyncio.open_connection(
                server.hostname, _port(server), ssl=context, server_hostname=name if context else None
            )
        sock = writer.get_extra_info("socket")
        for level, option, setting in tcp_keepalive_socket_options(idle=20, interval=10, count=3):
            sock.setsockopt(level, option, setting)
        self._transports.add(writer.transport)
        return Connection(h11.CLIENT, reader, writer)

    async def _through(self, proxy: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make an HTTP proxy between here and the API server open a tunnel."""
        tls = ssl.create_default_context() if proxy.scheme == "https" else None
        reader, writer = await asyncio.open_connection(proxy.hostname, _port(proxy), ssl=tls)
        connection = Connection(h11.CLIENT, reader, writer)
        target = f"{self.server.hostname}:{_port(self.server)}"
        fields = [("Host", target), *_proxy_credentials(proxy, self._configuration.proxy_headers)]
        await connection.send(h11.Request(method="CONNECT", target=target, headers=fields), h11.EndOfMessage())
        answer = await connection.receive()
        if not isinstance(answer, h11.Response) or answer.status_code != HTTPStatus.OK:
            connection.close()
            said = f"HTTP {answer.status_code}" if isinstance(answer, h11.Response) else "no answer"
            raise OSError(f"the HTTP proxy {proxy.hostname} opens no tunnel to it: {said}")
        return reader, writer

    def _tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for the server, None without TLS. It is made again when a file has changed."""
        if self.server.scheme != "https":
            return None
        configuration = self._configuration
        files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        state = [(file, os.stat(file).st_mtime_ns) for file in files if file]
        if self._context is None or self._context[0] != state:
            context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
            if not configuration.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file)
            self._context = state, context
        return self._context[1]


def _cause(exc: OSError) -> str:
    if exc.errno and not isinstance(exc, ssl.SSLError):
        return os.strerror(exc.errno)  # asyncio's own text does not say why
    return str(exc)


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _proxy_credentials(proxy: SplitResult, headers: object) -> list[tuple[str, str]]:
    fields = list(headers.items()) if isinstance(headers, dict) else []
    if proxy.username:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        fields.append(("Proxy-Authorization", f"Basic {b64encode(user.encode()).decode()}"))
    return fields
