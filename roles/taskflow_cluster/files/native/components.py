"""Start, inspect and judge the daemons of a native cluster.

The settings (the role's variables) come as JSON on stdin. Every command prints one JSON document, or fails with
one plain message on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.parse
from pathlib import Path

import ports
from processes import Daemon, start_time


class Cluster:
    def __init__(self, settings: dict) -> None:
        self.settings = settings
        self.directory = Path(settings["directory"])
        self.components = settings["components"]

    def daemon(self, component: dict) -> Daemon:
        return Daemon(self.directory, component["name"])

    def environment(self) -> dict[str, str]:
        """A small environment of our own: above all, no proxy settings."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": f"{self.directory}/iptables:{path}", "HOME": "/root", "LANG": "C.UTF-8"}

    def digest(self, component: dict) -> str:
        """What the daemon would be started with now."""
        program = Path(component["argv"][0])
        built = program.stat().st_mtime_ns if program.exists() else None
        digest = hashlib.sha256(json.dumps([component["argv"], self.environment(), built]).encode())
        for name in component["config"]:
            path = Path(name)
            digest.update(path.read_bytes() if path.exists() else b"missing")
        return digest.hexdigest()

    def is_current(self, component: dict) -> bool:
        return self.daemon(component).record().get("digest") == self.digest(component)

    def get(self, url: str, timeout: float = 3.0) -> tuple[int, bytes]:
        """GET with the administrator's certificate. The loopback daemons make their own, so none is verified."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            pki = self.directory / "pki"
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
            connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            connection.request("GET", parts.path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def is_ready(self, component: dict) -> bool:
        url = component["ready"]
        try:
            if url.startswith("unix://"):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(3.0)
                    client.connect(url.removeprefix("unix://"))
                return True
            return self.get(url)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def api_object(self, path: str) -> dict | None:
        try:
            status, body = self.get(self.settings["api_url"] + path)
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if status == 200 else None

    def is_node_ready(self) -> bool:
        node = self.api_object(f"/api/v1/nodes/{self.settings['node_name']}") or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    def has_default_service_account(self) -> bool:
        account = self.api_object("/api/v1/namespaces/default/serviceaccounts/default") or {}
        return bool(account.get("secrets"))

    def fingerprint(self) -> str:
        """Changes with the settings, and with any file of the role."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        role = Path(self.settings["role"])
        for path in sorted(role.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
                digest.update(str(path.relative_to(role)).encode() + path.read_bytes())
        return digest.hexdigest()


def start(cluster: Cluster, timeout: float) -> dict:
    return {"started": [item["name"] for item in cluster.components if start_one(cluster, item, timeout)]}


def start_one(cluster: Cluster, component: dict, timeout: float) -> bool:
    """Make sure that a daemon runs with its present configuration, and wait until it is ready."""
    name = component["name"]
    daemon = cluster.daemon(component)
    changed = False
    if daemon.pid() and not cluster.is_current(component):
        changed = daemon.stop()
    pid = daemon.pid()
    if not pid:
        changed = True
        pid = daemon.start(component["argv"], cluster.environment(), cluster.digest(component))
    deadline = time.monotonic() + timeout
    while not cluster.is_ready(component):
        if not start_time(pid):
            fail(daemon, f"{name} ended while starting.")
        if time.monotonic() > deadline:
            fail(daemon, f"{name} was not ready after {timeout:.0f} seconds.")
        time.sleep(0.1)
    return changed


def fail(daemon: Daemon, message: str) -> None:
    raise SystemExit(f"{message} The end of {daemon.log_path}:\n{daemon.log_tail()}")


def wait_for_node(cluster: Cluster, timeout: float) -> dict:
    began = time.monotonic()
    while not (cluster.is_node_ready() and cluster.has_default_service_account()):
        if time.monotonic() - began > timeout:
            missing = "kubelet" if not cluster.is_node_ready() else "kube-controller-manager"
            what = "the node is not Ready" if missing == "kubelet" else "there is no default ServiceAccount"
            fail(Daemon(cluster.directory, missing), f"After {timeout:.0f} seconds {what}.")
        time.sleep(0.2)
    return {"seconds": round(time.monotonic() - began, 1)}


def status(cluster: Cluster) -> dict:
    components = []
    for component in cluster.components:
        pid = cluster.daemon(component).pid()
        state = "down"
        if pid:
            state = "up" if cluster.is_ready(component) else "not ready"
        components.append({"name": component["name"], "pid": pid, "state": state})
    up = {item["name"] for item in components if item["state"] == "up"}
    api = "kube-apiserver" in up
    node = api and cluster.is_node_ready()
    fingerprint = cluster.fingerprint()
    path = cluster.directory / "fingerprint"
    current = path.exists() and path.read_text().strip() == fingerprint
    return {
        "components": components,
        "api": api,
        "node": node,
        "fingerprint": fingerprint,
        "healthy": len(up) == len(components) and node and current and all(map(cluster.is_current, cluster.components)),
    }


def taken_ports(cluster: Cluster) -> dict:
    """Needed ports that somebody else listens on."""
    taken = []
    for component in cluster.components:
        own = cluster.daemon(component).pid()
        for address in component["listens"]:
            for holder in ports.listeners(address):
                if holder.pid is None or holder.pid != own:
                    taken.append(f"{address} (for {component['name']}) is taken by {holder}")
    return {"taken": taken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status")
    commands.add_parser("taken-ports")
    starting = commands.add_parser("start")
    starting.add_argument("--timeout", type=float, required=True)
    waiting = commands.add_parser("wait-for-node")
    waiting.add_argument("--timeout", type=float, required=True)
    arguments = parser.parse_args()

    os.umask(0o022)
    cluster = Cluster(json.load(sys.stdin))
    if arguments.command == "start":
        result = start(cluster, arguments.timeout)
    elif arguments.command == "wait-for-node":
        result = wait_for_node(cluster, arguments.timeout)
    elif arguments.command == "taken-ports":
        result = taken_ports(cluster)
    else:
        result = status(cluster)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
