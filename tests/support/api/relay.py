"""A TCP relay on loopback whose network can be cut, as a firewall or a pulled cable does it: packets get lost."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # Linux; the socket module does not name them
_RETURN_ZERO = struct.pack("HBBI", 0x06, 0, 0, 0)  # a classic BPF program of one instruction: keep nothing
_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """Forwards connections to ``target`` (a port on loopback). All methods may be called from any thread.

    While it is cut, the kernel drops each packet that arrives for the relay, before TCP sees it: a new connection
    gets no answer, an open one is neither acknowledged nor closed, and nothing is sent on. Once restored, whatever
    connection has survived goes on, as after a real cut.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._whole = threading.Event()
        self._whole.set()
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}  # of the client, of the server
        self._abandoned: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def cut(self) -> None:
        """Lose all packets from now on."""
        with self._lock:
            self._whole.clear()
            for one in (self._listener, *self._pairs):
                _lose_packets(one)

    def restore(self) -> None:
        """Let packets through again."""
        with self._lock:
            for one in (self._listener, *self._pairs):
                _keep_packets(one)
            self._whole.set()

    def abandon(self) -> int:
        """Forget the open connections without closing them, as a middlebox does that loses its table.

        What is sent on them is acknowledged, so that keep-alive notices nothing, and swallowed. New connections work.
        Returns how many were abandoned.
        """
        with self._lock:
            self._abandoned.update(self._pairs, self._pairs.values())
            return len(self._pairs)

    def reset_all(self) -> int:
        """Reset every open connection, on both sides; return how many there were."""
        with self._lock:
            pairs = list(self._pairs.items())
        for client, server in pairs:
            self._reset(client, server)
        return len(pairs)

    def connections(self) -> int:
        """How many are open now."""
        with self._lock:
            return len(self._pairs)

    def close(self) -> None:
        """Reset all, listen no more."""
        self._closed = True
        self.restore()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.reset_all()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:  # nobody listens there now: the client is to see the same
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs[client] = server
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                if source not in self._abandoned:
                    sink.sendall(data)
        self._whole.wait()  # word of the end does not get through either
        if source not in self._abandoned:
            self._reset(*((source, sink) if source in self._pairs else (sink, source)))

    def _reset(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            if self._pairs.pop(client, None) is None:
                return
            self._abandoned -= {client, server}
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
                one.close()


def _lose_packets(one: socket.socket) -> None:
    program = ctypes.create_string_buffer(_RETURN_ZERO)
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def _keep_packets(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has no filter
        one.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
