"""Who listens on a TCP port, read from /proc."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import NamedTuple

from processes import all_pids, command_line

LISTEN = "0A"


class Listener(NamedTuple):
    address: str
    pid: int | None
    command: str

    def __str__(self) -> str:
        who = f"process {self.pid} ({self.command})" if self.pid else "a process that cannot be seen from here"
        return f"{who}, which listens on {self.address}"


def _decode(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """The kernel prints addresses as 32-bit words in the machine's byte order."""
    words, port = text.split(":")
    raw = b"".join(bytes.fromhex(words[i : i + 8])[::-1] for i in range(0, len(words), 8))
    address = ipaddress.ip_address(raw)
    return getattr(address, "ipv4_mapped", None) or address, int(port, 16)


def _owner(inode: str) -> int | None:
    wanted = f"socket:[{inode}]"
    for pid in all_pids():
        try:
            if any(os.readlink(entry.path) == wanted for entry in os.scandir(f"/proc/{pid}/fd")):
                return pid
        except OSError:
            continue
    return None


def listeners(wanted: str) -> list[Listener]:
    """The listeners that keep a daemon from binding `address:port`."""
    host, _colon, wanted_port = wanted.rpartition(":")
    wanted_address = ipaddress.ip_address(socket.gethostbyname(host))
    found = []
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            address, port = _decode(fields[1])
            if fields[3] != LISTEN or port != int(wanted_port):
                continue
            if address == wanted_address or address.is_unspecified:
                pid = _owner(fields[9])
                command = (command_line(pid) if pid else [""])[0]
                found.append(Listener(f"{address}:{port}", pid, os.path.basename(command)))
    return found
