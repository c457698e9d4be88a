"""The protocol between the controller and a fork server.

The control socket (a pair of sequenced-packet sockets) ties the server to the controller's life. The server's first
packet says that it is ready. Each packet from the controller asks for a keeper and passes two descriptors: the keeper's
end of the run's own connection, and the run's output. On that connection each side sends lines of JSON:

    keeper       {"keeper": process id, "stale": whether the server's knowledge is out of date}
    controller   {"argv": [...], "cwd": ..., "env": {...}}         nothing runs before this
    keeper       {"pid": process id of the run}
    keeper       {"exit": exit code, or minus the signal's number}  no process of the run is left by then

To kill the run, the controller closes its end.
"""

import array
import json
import socket
from typing import Any

_ASK = b"run"
_DESCRIPTORS = 2
_MAX_PACKET = 65536


def send_ready(control: socket.socket, warnings: list[str]) -> None:
    """Tell the controller that the server is ready, with the warnings from its warm-up."""
    control.send(json.dumps({"warnings": warnings[:20]}).encode()[:_MAX_PACKET])


def receive_ready(control: socket.socket) -> list[str]:
    """Wait until the server is ready, and return its warnings.

    Raises:
        EOFError: the server ended before.
        OSError: the server was not ready within the socket's timeout.
    """
    packet = control.recv(_MAX_PACKET)
    if not packet:
        raise EOFError
    warnings: list[str] = json.loads(packet)["warnings"]
    return warnings


def ask_for_keeper(control: socket.socket, connection: socket.socket, output: int) -> None:
    """Ask for a keeper.

    Args:
        control: the control socket.
        connection: the keeper's end of the run's connection.
        output: the descriptor for the run's output.

    Raises:
        OSError: the server is gone.
    """
    descriptors = array.array("i", [connection.fileno(), output])
    control.sendmsg([_ASK], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def receive_asked(control: socket.socket) -> tuple[socket.socket, int]:
    """Wait for the next request for a keeper; return the run's connection and the descriptor for its output.

    Raises:
        EOFError: the controller is gone.
    """
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
    """Sends and receives lines of JSON over a connected socket, which it owns."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: the other side is gone.
        """
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message and return it, or None if the other side is gone.

        Raises:
            TimeoutError: there was none within the socket's timeout.
        """
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
