"""The watches that go through the proxy with faults: their events can be held, dropped and cut off, by the kind."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

_EXPIRED = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version",
        "reason": "Expired",
        "code": 410,
    },
}


class Stream:
    """One watch: what the server sends of it goes to a client, an event a chunk."""

    def __init__(self, client: BinaryIO, server: http.client.HTTPConnection) -> None:
        self._client, self._server = client, server
        self._writing = threading.Lock()
        self.has_ended = False

    def send(self, event: bytes) -> None:
        """Send an event, unless the stream has ended."""
        with self._writing:
            if not self.has_ended:
                self._client.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def end(self, event: bytes = b"") -> None:
        """End it, with a last event if there is one, and wake who reads from the server."""
        with contextlib.suppress(OSError):
            if event:
                self.send(event)
            self.send(b"")
        self.has_ended = True
        if self._server.sock:
            with contextlib.suppress(OSError):
                self._server.sock.shutdown(socket.SHUT_RDWR)


class Streams:
    """All watches of one proxy. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Stream, str] = {}
        self._held: set[str] = set()
        self._dropped: set[str] = set()

    @contextlib.contextmanager
    def held(self, plural: str) -> Iterator[None]:
        """Let no event of a kind through; at the end all of them follow, in order."""
        self._held.add(plural)
        try:
            yield
        finally:
            self._held.discard(plural)

    @contextlib.contextmanager
    def dropped(self, plural: str) -> Iterator[None]:
        """Lose all events of a kind. At the end its watches are told to list again, or nobody would ever know."""
        self._dropped.add(plural)
        try:
            yield
        finally:
            self._dropped.discard(plural)
            self.expire(plural)

    def expire(self, plural: str) -> int:
        """Tell the watches of a kind that their version is too old (410), and return how many there were."""
        with self._lock:
            streams = [stream for stream, kind in self._open.items() if kind == plural]
        for stream in streams:
            stream.end(json.dumps(_EXPIRED).encode() + b"\n")
        return len(streams)

    def pump(self, plural: str, stream: Stream, answer: http.client.HTTPResponse) -> None:
        """Send a watch's events on until either side ends it."""
        with self._lock:
            self._open[stream] = plural
        try:
            while (event := answer.readline()) and not stream.has_ended:
                while plural in self._held and not stream.has_ended:
                    time.sleep(0.05)
                if plural not in self._dropped:
                    stream.send(event)
        except (OSError, http.client.HTTPException, AttributeError):  # cut off; http.client may trip over itself then
            pass
        finally:
            with self._lock:
                del self._open[stream]
            stream.end()
