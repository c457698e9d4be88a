"""Requests to an API server, as plain JSON and with little cost of their own.

They share the machine with what they measure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import urllib3
from kubernetes import client, config

Object = dict[str, Any]
CONFLICT, NOT_FOUND = 409, 404


class RefusedError(Exception):
    """The API server refused a request. ``status`` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RawApi:
    """An API server, by kubeconfig. May be used by several threads at once, as many as ``connections``."""

    def __init__(self, kubeconfig: str, connections: int = 4) -> None:
        settings = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=settings)
        token = settings.get_api_key_with_prefix("authorization")
        self._server = settings.host
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            ca_certs=settings.ssl_ca_cert,
            cert_file=settings.cert_file,
            key_file=settings.key_file,
            headers={"Authorization": token} if token else {},
        )

    def get(self, path: str) -> Object:
        """Return what is at a path."""
        return self._send("GET", path)

    def create(self, path: str, body: Object) -> Object:
        """Create an object, and return it as the server has it."""
        return self._send("POST", path, body)

    def ensure(self, path: str, body: Object) -> None:
        """Create an object, unless there is one of its name."""
        try:
            self.create(path, body)
        except RefusedError as exc:
            if exc.status != CONFLICT:
                raise

    def delete(self, path: str) -> None:
        """Delete an object; nothing happens when it is gone already."""
        try:
            self._send("DELETE", path)
        except RefusedError as exc:
            if exc.status != NOT_FOUND:
                raise

    def merge(self, path: str, patch: Object) -> Object:
        """Lay a patch over an object."""
        return self._send("PATCH", path, patch, "application/merge-patch+json")

    def watch(self, path: str, since: str = "", seconds: int = 3600) -> Iterator[Object]:
        """Yield the events of a path: {type, object}, from a resourceVersion on; without one, what is there first."""
        query = f"?watch=true&timeoutSeconds={seconds}&resourceVersion={since}"
        timeout = urllib3.Timeout(connect=10, read=seconds + 10)
        response = self._pool.request(
            "GET", self._server + path + query, preload_content=False, timeout=timeout, retries=False
        )
        rest = b""
        try:
            for chunk in response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        finally:
            response.close()

    def _send(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        response = self._pool.request(
            method,
            self._server + path,
            body=None if body is None else json.dumps(body),
            headers={**self._pool.headers, "Content-Type": kind},
            timeout=urllib3.Timeout(connect=10, read=60),
            retries=False,
        )
        if response.status >= 300:
            raise RefusedError(response.status, f"{method} {path}: HTTP {response.status}: {response.data[:300]!r}")
        answer: Object = json.loads(response.data)
        return answer
