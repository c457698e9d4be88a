"""The proxy's server: one thread with an event loop, on loopback, as long as the controller runs."""

import asyncio
import contextlib
import logging
import secrets
import ssl
import threading
import weakref
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import h11
from kubernetes import client

from taskflow_controller.config.watches import Watch
from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import Object
from taskflow_controller.proxy.answers import ProxyError, failure_answer
from taskflow_controller.proxy.certificate import make_context
from taskflow_controller.proxy.connection import Connection, ConnectionLostError
from taskflow_controller.proxy.forward import Forwarder
from taskflow_controller.proxy.handler import Dependents, Handler
from taskflow_controller.proxy.headers import bearer_token
from taskflow_controller.proxy.kubeconfig import LOOPBACK, write_kubeconfig
from taskflow_controller.proxy.subject import Session
from taskflow_controller.proxy.upstream import Upstream

logger = logging.getLogger(__name__)

IDLE_SECONDS = 120.0  # after which a client's idle connection is closed
HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 5.0
_READ_AHEAD = 1 << 17
_LINGER_BYTES, _LINGER_SECONDS = 1 << 22, 1.0
_BUG = "internal error of the API proxy; the controller's log has the details"


class ApiProxy:
    """A proxy between the playbooks and the API server, which it reaches with the controller's own credentials.

    Args:
        api_client: the controller's client of the API server.
    """

    def __init__(self, api_client: client.ApiClient) -> None:
        self._dependents: Dependents | None = None
        self._configuration = api_client.configuration
        self._sessions: dict[str, Session] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="api-proxy", daemon=True)
        self._started = threading.Event()
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._context, self._authority = make_context()
        self._port = 0
        self._failure: str | None = None

    def start(self, dependents: Dependents | None = None) -> None:
        """Listen on a free port of loopback. Return once it does.

        Args:
            dependents: watches the kinds of the objects that playbooks create, which get an owner; reads of watched
                kinds are answered from there. None: everything passes unchanged.

        Raises:
            ConfigError: it can't listen.
        """
        self._dependents = dependents
        self._thread.start()
        self._started.wait()
        if self._failure:
            raise ConfigError(f"the API proxy can't listen on {LOOPBACK}: {self._failure}")

    def stop(self) -> None:
        """End all connections and stop. Waits up to ``2 * STOP_SECONDS``."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(2 * STOP_SECONDS)

    def problem(self) -> str | None:
        """Return why no request can be served, or None if all is well."""
        if self._thread.is_alive() and self._port:
            return None
        return f"the API proxy is not running{': ' if self._failure else ''}{self._failure or ''}"

    @contextlib.contextmanager
    def session(self, watch: Watch, owner: Object | None, directory: Path) -> Iterator[Path]:
        """Let one run use the proxy, and yield the run's kubeconfig.

        Afterwards the file is gone, its token is invalid, and connections that the run left open are closed.

        Args:
            watch: the watch that the run is for.
            owner: the resource that the run is for, None if it is for several.
            directory: where the kubeconfig is written.

        Raises:
            OSError: it can't be written.
        """
        token = secrets.token_urlsafe(32)
        path = directory / "kubeconfig"
        write_kubeconfig(path, f"https://{LOOPBACK}:{self._port}", self._authority, token)
        session = self._sessions[token] = Session(watch, owner)
        try:
            yield path
        finally:
            del self._sessions[token]
            path.unlink(missing_ok=True)
            with contextlib.suppress(RuntimeError):  # the loop was stopped before
                self._loop.call_soon_threadsafe(_cancel, session.tasks)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as exc:
            logger.exception("the API proxy ended with an error")
            self._failure = str(exc) or type(exc).__name__
        finally:
            self._port = 0
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_log_loop_error)
        upstream = Upstream(self._configuration)
        self._forwarder = Forwarder(upstream)
        self._handler = Handler(self._forwarder, self._dependents) if self._dependents else None
        server = await asyncio.start_server(
            self._connected,
            LOOPBACK,
            0,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=1.0,
            limit=_READ_AHEAD,
            backlog=256,
        )
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ending.wait()
        server.close()
        _cancel(self._tasks)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        upstream.close()
        for transport in self._transports:
            transport.abort()
        await asyncio.sleep(0.01)  # let the transports close their sockets

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        # If the client goes away while the API server works on its request, the request ends.
        watcher = asyncio.create_task(_cancel_when_closed(writer, task))
        connection = Connection(h11.SERVER, reader, writer)
        self._transports.add(writer.transport)
        try:
            while await self._serve_request(connection, task):
                pass
        except ConnectionLostError as exc:
            if exc.malformed and exc.connection is connection:
                await _answer_failure(connection, ProxyError(HTTPStatus.BAD_REQUEST, f"not an HTTP request: {exc}"))
        except asyncio.CancelledError:
            pass
        except Exception:
            logger.exception("bug: the API proxy could not serve a request")
            await _answer_failure(connection, ProxyError(HTTPStatus.INTERNAL_SERVER_ERROR, _BUG))
        finally:
            watcher.cancel()
            writer.close()
            self._tasks.discard(task)

    async def _serve_request(self, connection: Connection, task: asyncio.Task[None]) -> bool:
        """Serve the next request; return whether the connection may have another."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await connection.receive()
        except TimeoutError:
            return False
        if not isinstance(request, h11.Request):  # the client closed
            return False
        session = self._sessions.get(bearer_token(request.headers.raw_items()))
        if session is None:
            text = "the API proxy does not know this token; a run's kubeconfig is valid only while the run lasts"
            await _answer_failure(connection, ProxyError(HTTPStatus.UNAUTHORIZED, text))
            return False
        if task not in session.tasks:
            session.tasks.add(task)
            task.add_done_callback(session.tasks.discard)
        try:
            if self._handler:
                await self._handler.serve(request, connection, session)
            else:
                await self._forwarder.pass_through(request, connection)
        except ProxyError as exc:
            logger.warning("request of a play failed: %s", exc)
            await _answer_failure(connection, exc)
        if connection.http.their_state is h11.SEND_BODY:  # the API server has refused a large body halfway
            await connection.drain(_LINGER_BYTES, _LINGER_SECONDS)
        return connection.next_message()


async def _answer_failure(connection: Connection, error: ProxyError) -> None:
    """Send an error to the client if its answer has not begun yet."""
    if connection.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with contextlib.suppress(ConnectionLostError):
            await connection.send(*failure_answer(error))
            await connection.drain(_LINGER_BYTES, _LINGER_SECONDS)


async def _cancel_when_closed(writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    task.cancel()


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tuple(tasks):
        task.cancel()


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log an error of the event loop, unless a client has just broken off its TLS connection."""
    if not isinstance(context.get("exception"), OSError | ssl.SSLError | asyncio.CancelledError):
        logger.error("API proxy: %s", context.get("message"), exc_info=context.get("exception"))  # type: ignore[arg-type]
