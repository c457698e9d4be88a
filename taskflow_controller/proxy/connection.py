"""An HTTP/1.1 connection, as client or server: h11 speaks the protocol, asyncio's streams carry the bytes."""

import asyncio
import contextlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import cast

import h11

from taskflow_controller.proxy.answers import ProxyError

CHUNK = 1 << 16
MAX_HEAD = 1 << 20  # as much as the API server accepts; the arguments of an exec are in the URL

Event = h11.Event | type[h11.PAUSED]


class ConnectionLostError(ConnectionError):
    """The other side of a connection is gone, or its bytes are not HTTP.

    Attributes:
        connection: the connection that was lost.
        malformed: whether the bytes were not HTTP.
    """

    def __init__(self, connection: "Connection", cause: Exception) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.connection = connection
        self.malformed = isinstance(cause, h11.RemoteProtocolError)


class Connection:
    """An HTTP connection.

    Args:
        role: whether this side is the client or the server.
        reader: what the other side sends.
        writer: what goes to the other side.
    """

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        self.reader, self.writer = reader, writer

    async def receive(self) -> Event:
        """Wait for the next event and return it. Between two messages it is PAUSED.

        Raises:
            ConnectionLostError: the other side is gone, or its bytes are not HTTP.
        """
        while (event := self.receive_buffered()) is None:
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self.http.receive_data(await self.reader.read(CHUNK))
            except (OSError, h11.RemoteProtocolError) as exc:
                raise ConnectionLostError(self, exc) from exc
        return event

    def receive_buffered(self) -> Event | None:
        """Return the next event if it has already arrived, else None.

        Raises:
            ConnectionLostError: the bytes of the other side are not HTTP.
        """
        try:
            event = self.http.next_event()
        except h11.RemoteProtocolError as exc:
            raise ConnectionLostError(self, exc) from exc
        return None if event is h11.NEED_DATA else cast(Event, event)

    async def read_body(self, limit: int) -> bytes:
        """Return the rest of the message's body, of at most ``limit`` bytes.

        Raises:
            ConnectionLostError: the other side is gone, or its bytes are not HTTP.
            ProxyError: the body is longer.
        """
        body = bytearray()
        while isinstance(event := of_message(await self.receive(), self), h11.Data):
            body += event.data
            if len(body) > limit:
                raise ProxyError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
        return bytes(body)

    async def send(self, *events: h11.Event) -> None:
        """Write events, and wait while the other side does not read.

        Raises:
            ConnectionLostError: the other side is gone.
        """
        data = b"".join(filter(None, [self.http.send(event) for event in events]))
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as exc:
            raise ConnectionLostError(self, exc) from exc

    def next_message(self) -> bool:
        """Prepare for the next request and return true, or return false if the connection must end."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        self.http.start_next_cycle()
        return True

    @property
    def usable(self) -> bool:
        """True if the other side still holds the connection open, as far as is known."""
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def drain(self, limit: int, seconds: float) -> None:
        """Read on for ``limit`` bytes or ``seconds``: closing with unread bytes would revoke an answer under way."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(seconds):
                while limit > 0 and (data := await self.reader.read(CHUNK)):
                    limit -= len(data)

    def close(self) -> None:
        """Close the connection. What was written before is still sent."""
        self.writer.close()


async def relay(source: Connection, target: Connection, *first: h11.Event) -> None:
    """Send events, then the rest of the message that ``source`` is sending, as it arrives.

    Args:
        source: sends the message.
        target: gets it.
        first: the events to begin with.

    Raises:
        ConnectionLostError: either side is gone.
    """
    waiting = list(first) if ends(first) else [*first, *buffered(source)]
    await target.send(*waiting)
    while not ends(waiting):
        event = await source.receive()
        waiting = [of_message(event, source)]
        if not ends(waiting):
            waiting += buffered(source)
        await target.send(*waiting)


def buffered(source: Connection) -> list[h11.Event]:
    """Return the events that have already arrived of the message that ``source`` is sending.

    Raises:
        ConnectionLostError: the bytes of ``source`` are not HTTP.
    """
    events: list[h11.Event] = []
    while not ends(events) and (event := source.receive_buffered()) is not None:
        events.append(of_message(event, source))
    return events


def ends(events: Sequence[h11.Event]) -> bool:
    """Return whether events reach the end of their message."""
    return bool(events) and isinstance(events[-1], h11.EndOfMessage)


def of_message(event: Event, source: Connection) -> h11.Event:
    """Return an event if it is of a message's body or its end.

    Raises:
        ConnectionLostError: it is any other event, so ``source`` has broken off its message.
    """
    if isinstance(event, h11.Data | h11.EndOfMessage):
        return event
    raise ConnectionLostError(source, EOFError("it ended in the middle of a message"))


async def tunnel(one: Connection, other: Connection) -> None:
    """Copy bytes both ways until either side ends, beginning with those that were read ahead."""
    copies = [asyncio.create_task(_copy(one, other)), asyncio.create_task(_copy(other, one))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(source: Connection, target: Connection) -> None:
    data = source.http.trailing_data[0]
    with contextlib.suppress(OSError):  # an end like any other
        while data := data or await source.reader.read(CHUNK):
            target.writer.write(data)
            await target.writer.drain()
            data = b""
