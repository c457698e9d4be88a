"""What controller and fork server say to each other.

The control socket (a pair of sequenced-packet sockets) ties the server to the controller's life. The server's
first packet says that it is ready; each packet from the controller asks for a keeper and brings two
descriptors: the keeper's end of the run's own connection, and where the run's output goes. On that connection
each side sends lines of JSON:

    keeper       {"keeper": process id, "stale": is what the server knows out of date}
    controller   {"argv": [...], "cwd": ..., "env": {...}}         not before: nothing has run without it
    keeper       {"pid": process id of the run}
    keeper       {"exit": exit code, or minus the signal's number}  nothing of the run is left by then

The controller closes its end to have the run killed.
"""

import array
import json
import socket
from typing import Any

_ASK = b"run"
_DESCRIPTORS = 2
_MAX_PACKET = 65536


def send_ready(control: socket.socket, warnings: list[str]) -> None:
    """Say that the server can serve, and what was odd while it warmed up."""
    control.send(json.dumps({"warnings": warnings[:20]}).encode()[:_MAX_PACKET])


def receive_ready(control: socket.socket) -> list[str]:
    """Wait until the server is ready; return its warnings. Raises EOFError if it ended before."""
    packet = control.recv(_MAX_PACKET)
    if not packet:
        raise EOFError
    warnings: list[str] = json.loads(packet)["warnings"]
    return warnings


def ask_for_keeper(control: socket.socket, connection: socket.socket, output: int) -> None:
    """Hand over both descriptors. Raises OSError if the server is gone."""
    descriptors = array.array("i", [connection.fileno(), output])
    control.sendmsg([_ASK], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def receive_asked(control: socket.socket) -> tuple[socket.socket, int]:
    """Return the next run's connection and output. Raises EOFError if the controller is gone."""
    descriptors = array.array("i")
    packet, ancillary, _flags, _address = control.recvmsg(
        len(_ASK), socket.CMSG_SPACE(_DESCRIPTORS * descriptors.itemsize)
    )
    if not packet:
        raise EOFError
    for _level, _type, data in ancillary:
        descriptors.frombytes(data)
    connection, output = descriptors
    return socket.socket(fileno=connection), output


class Lines:
    """Lines of JSON over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected socket."""
        self.socket = connection
        self._received = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. Raises OSError if the other side is gone."""
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message and return it; None if the other side is gone."""
        while b"\n" not in self._received:
            try:
                received = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not received:
                return None
            self._received += received
        line, _end, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
