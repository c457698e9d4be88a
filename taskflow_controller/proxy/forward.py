"""Passes a request on to the API server, and the answer back, as they arrive."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from taskflow_controller.proxy.answers import ProxyError
from taskflow_controller.proxy.connection import (
    Connection,
    ConnectionLostError,
    buffered,
    ends,
    of_message,
    relay,
    tunnel,
)
from taskflow_controller.proxy.headers import Headers, end_to_end, for_upstream, upgrade_of
from taskflow_controller.proxy.requests import is_long_running
from taskflow_controller.proxy.upstream import Upstream

ANSWER_SECONDS = 75.0  # the API server itself gives up an ordinary request after 60 s
MAX_FETCHED = 16 << 20
_REPEATABLE = {b"GET", b"HEAD", b"OPTIONS"}


@dataclass
class Answer:
    """An answer of the API server. Its body must still be read from ``connection``."""

    head: h11.Response | h11.InformationalResponse
    connection: Connection


class Forwarder:
    """Sends requests through an ``Upstream``. Use it in the event loop only."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def request(self, request: h11.Request, client: Connection | None, body: bytes | None = None) -> Answer:
        """Send a request and return its answer, which the caller must give to ``pass_on`` or ``collect``.

        Args:
            request: the head of the request.
            client: the request's body is read from it; None if there is no body.
            body: the whole body, if it was already read from ``client``.

        Raises:
            ProxyError: there is no answer.
            ConnectionLostError: the client is gone.
        """
        kept = None if upgrade_of(request.headers.raw_items()) else self._upstream.reuse()
        if kept is not None:
            try:
                return await self._exchange(kept, request, client, body)
            except ConnectionLostError as exc:  # the API server may have closed it while it was idle
                if exc.connection is client or request.method not in _REPEATABLE:
                    raise _explained(exc, client) from exc
        try:
            return await self._exchange(await self._upstream.connect(), request, client, body)
        except ConnectionLostError as exc:
            raise _explained(exc, client) from exc

    async def pass_through(self, request: h11.Request, client: Connection, body: bytes | None = None) -> None:
        """Send a request, and its answer to the client as it arrives.

        Args:
            request: the head of the request.
            client: sends the request's body, and gets the answer.
            body: the whole body, if it was already read from ``client``.

        Raises:
            ProxyError: there is no answer.
            ConnectionLostError: either side is gone.
        """
        await self.pass_on(await self.request(request, client, body), client)

    async def fetch(self, path: str, headers: Headers | None = None) -> tuple[int, bytes]:
        """Return the status and the body, as JSON, of the answer to a GET.

        Args:
            path: the path to request.
            headers: more headers for the request.

        Raises:
            ProxyError: there is no answer, or it is too long.
        """
        fields = [(b"Host", b"-"), (b"Accept", b"application/json"), *(headers or [])]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self.request(h11.Request(method="GET", target=path, headers=fields), None)
                _events, body = await self.collect(answer, MAX_FETCHED)
        except TimeoutError as exc:
            raise _too_late() from exc
        self._upstream.keep(answer.connection)
        if body is None:
            raise ProxyError(HTTPStatus.BAD_GATEWAY, f"the API server's answer has more than {MAX_FETCHED} bytes")
        return answer.head.status_code, body

    async def collect(self, answer: Answer, limit: int) -> tuple[list[h11.Event], bytes | None]:
        """Read an answer's body up to about ``limit`` bytes; return its events, and the body if it was read whole.

        Give the answer and the events to ``pass_on`` afterwards.

        Raises:
            ProxyError: the API server is gone.
        """
        server, events, size = answer.connection, list[h11.Event](), 0
        try:
            while not ends(events) and size <= limit:
                event = of_message(await server.receive(), server)
                events.append(event)
                size += len(event.data) if isinstance(event, h11.Data) else 0
        except ConnectionLostError as exc:
            server.close()
            raise _explained(exc, None) from exc
        except BaseException:
            server.close()
            raise
        data = (bytes(event.data) for event in events if isinstance(event, h11.Data))
        return events, b"".join(data) if ends(events) else None

    async def pass_on(self, answer: Answer, client: Connection, read: Sequence[h11.Event] = ()) -> None:
        """Send an answer to the client as it arrives.

        Args:
            answer: the answer of the API server.
            client: gets it.
            read: the events that ``collect`` has read of it; they go first.

        Raises:
            ConnectionLostError: either side is gone.
        """
        server, head = answer.connection, answer.head
        try:
            if isinstance(head, h11.Response):
                await relay(server, client, _for_client(head), *read)
                self._upstream.keep(server)
            else:
                await client.send(head)
                await tunnel(client, server)
                server.close()
        except BaseException:
            server.close()
            raise

    async def _exchange(
        self, server: Connection, request: h11.Request, client: Connection | None, body: bytes | None
    ) -> Answer:
        try:
            events = [await self._head_for_server(request), *_body_at_hand(client, body)]
            await server.send(*events)
            if client is None or ends(events):
                head = await _answer_head(server, request)
            else:
                head = await _answer_while_sending(server, request, client)
            return Answer(head, server)
        except BaseException:
            server.close()
            raise

    async def _head_for_server(self, request: h11.Request) -> h11.Request:
        server = self._upstream.server
        credentials = await self._upstream.credentials()
        return h11.Request(
            method=request.method,
            target=server.path.rstrip("/").encode() + request.target,
            headers=for_upstream(request.headers.raw_items(), server, credentials),
        )


def _body_at_hand(client: Connection | None, body: bytes | None) -> list[h11.Event]:
    """Return the events that are known of a request's body. They are complete if they end with EndOfMessage."""
    if body is not None:
        return [h11.Data(data=body), h11.EndOfMessage()]
    if client and client.http.their_state is h11.SEND_BODY:
        return buffered(client)
    return [h11.EndOfMessage()]  # no body, or one that was read before the request is repeated


async def _answer_while_sending(
    server: Connection, request: h11.Request, client: Connection
) -> h11.Response | h11.InformationalResponse:
    """Send the rest of a large body, unless the API server answers before that."""
    sending = asyncio.create_task(relay(client, server))
    receiving = asyncio.create_task(_answer_head(server, request))
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        failure = sending.exception() if sending.done() else None
        if isinstance(failure, ConnectionLostError) and failure.connection is client:
            raise failure
        return await receiving
    finally:
        sending.cancel()
        receiving.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


async def _answer_head(server: Connection, request: h11.Request) -> h11.Response | h11.InformationalResponse:
    """Return the head of the answer, or of the switch to another protocol."""
    patience = None if is_long_running(request) else ANSWER_SECONDS
    try:
        async with asyncio.timeout(patience):
            while True:
                event = await server.receive()
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    raise ConnectionLostError(server, EOFError("it closed the connection"))
                if event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                    return event
    except TimeoutError as exc:
        raise _too_late() from exc


def _for_client(head: h11.Response) -> h11.Response:
    headers = end_to_end(list(head.headers.raw_items()))
    return h11.Response(status_code=head.status_code, headers=headers, reason=head.reason)


def _too_late() -> ProxyError:
    return ProxyError(HTTPStatus.GATEWAY_TIMEOUT, f"the API server did not answer in {ANSWER_SECONDS:g} s")


def _explained(exc: ConnectionLostError, client: Connection | None) -> Exception:
    if exc.connection is client:
        return exc
    return ProxyError(HTTPStatus.BAD_GATEWAY, f"the connection to the API server was lost before the answer: {exc}")
