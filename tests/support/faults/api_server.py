"""The API server as the fault suite reaches it, by plain HTTP: for requests, for watches, and for the proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from kubernetes import client, config

from support.kubectl import Object

SECONDS = 60.0
TASKS = "apis/api.practice.com/v1alpha1"
MERGE = "application/merge-patch+json"


class RefusedError(RuntimeError):
    """The API server refused a request; ``status`` is its code."""

    def __init__(self, what: str, status: int, body: str) -> None:
        super().__init__(f"{what}: HTTP {status}: {body[:500]}")
        self.status = status


class ApiServer:
    """The server of a kubeconfig.

    Args:
        kubeconfig: names the server and who asks.
        headers: more headers for each request.
    """

    def __init__(self, kubeconfig: str | Path, headers: Mapping[str, str] | None = None) -> None:
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        self._url = urlsplit(settings.host)
        self._context: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
            if settings.cert_file:
                self._context.load_cert_chain(settings.cert_file, settings.key_file)
        tokens = {setting["key"]: setting["value"] for setting in settings.auth_settings().values()}
        self.headers = {**tokens, **(headers or {})}

    def connect(self, seconds: float | None = SECONDS) -> http.client.HTTPConnection:
        """Return a new connection, for which requests have to have ``headers``; None waits for ever."""
        host, port = self._url.hostname or "", self._url.port
        if self._context:
            return http.client.HTTPSConnection(host, port, context=self._context, timeout=seconds)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """Send a request and return the object that the server answers with.

        Raises:
            RefusedError: it refused it.
        """
        with contextlib.closing(self.connect()) as connection:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/{path}", content, {**self.headers, "Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise RefusedError(f"{method} {path}", answer.status, text)
        found: Object = json.loads(text)
        return found

    def watch(self, path: str, version: str) -> Iterator[Object]:
        """Yield the events of a watch from a version on, until the server ends it."""
        query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": 3000})
        with contextlib.closing(self.connect(None)) as connection:
            connection.request("GET", f"/{path}?{query}", None, self.headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RefusedError(f"watch {path}", answer.status, answer.read().decode())
            while line := answer.readline():
                yield json.loads(line)
