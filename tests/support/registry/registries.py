"""What the tests of the look-up talk to: a registry as a process, and a server that misbehaves."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import urljoin

import requests
import yaml

from support import ROOT
from support.engine import engine
from support.facts import facts

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

USER, PASSWORD = "alice", "wonderland"
OTHER_USER, OTHER_PASSWORD = "bob", "builder"
# The two passwords by bcrypt, at its lowest cost: the registry takes no other kind.
HTPASSWD = """alice:$2b$04$uuX52NBXkV9MmixLtYel5eIVaPx17/hX.qdZyQ.zW2UZW69wqBQCG
bob:$2b$04$wbDPxqpbclYo47U08BVYiu0ex9FqAQeUQQrt5CVNn4EyYRKygBM9W
"""


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Authority:
    """A CA, and a certificate by it for 127.0.0.1."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.ca, self.certificate, self.key = (str(folder / name) for name in ("ca.crt", "tls.crt", "tls.key"))
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        ca_key = str(folder / "ca.key")
        _run(request, "-keyout", ca_key, "-out", self.ca, "-subj", "/CN=CA of a test")
        names = ["-addext", f"subjectAltName=IP:{address}", "-addext", "basicConstraints=critical,CA:FALSE"]
        by = ["-CA", self.ca, "-CAkey", ca_key]
        _run(request, "-keyout", self.key, "-out", self.certificate, "-subj", "/CN=registry", *names, *by)


def _run(command: list[str], *words: str) -> None:
    subprocess.run([*command, *words], check=True, capture_output=True, timeout=60)


def registry_program() -> str:
    """Return the path of Docker's registry, which is named docker-registry in Debian and registry elsewhere.

    It is that of this host, or a copy of the one in the container of the cluster's registry.
    """
    if found := shutil.which("docker-registry"):
        return found
    copy = ROOT / "build" / "registry"
    if not copy.exists():
        container = facts().registry_pull.rpartition(":")[0]
        name = engine("exec", container, "sh", "-c", "command -v docker-registry || command -v registry").strip()
        # Two processes of pytest may want it at the same time.
        mine = copy.with_name(f"registry-{os.getpid()}")
        mine.parent.mkdir(exist_ok=True)
        engine("cp", f"{container}:{name}", str(mine))
        mine.replace(copy)
    return str(copy)


class Registry:
    """Docker's registry, for as long as the context lasts."""

    def __init__(
        self, folder: Path, authority: Authority | None = None, users: bool = False, address: str = "127.0.0.1"
    ) -> None:
        self.host = f"{address}:{free_port()}"
        self.url = f"{'https' if authority else 'http'}://{self.host}"
        self.session = requests.Session()
        # Else an environment's CA bundle or proxy would come before what the test says.
        self.session.trust_env = False
        config = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host},
        }
        if authority:
            config["http"] |= {"tls": {"certificate": authority.certificate, "key": authority.key}}
            self.session.verify = authority.ca
        if users:
            (folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
            self.session.auth = (USER, PASSWORD)
        self._config = folder / "config.yml"
        self._config.write_text(yaml.safe_dump(config))
        self._log = folder / "log"

    def __enter__(self) -> Registry:
        with self._log.open("w") as log:
            command = [registry_program(), "serve", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._wait(time.monotonic() + 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self, end: float) -> None:
        while True:
            try:
                self.session.get(f"{self.url}/v2/", timeout=5).raise_for_status()
                return
            except requests.ConnectionError as error:
                assert self._process.poll() is None, self._log.read_text()
                assert not isinstance(error, requests.exceptions.SSLError), error
                assert time.monotonic() < end, error
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def repository(self) -> Repository:
        """Return a repository of the test's own."""
        return Repository(self)


class Repository:
    """A repository, to push to."""

    def __init__(self, registry: Registry) -> None:
        self.name = f"test/{uuid.uuid4().hex}"
        self.image = f"{registry.host}/{self.name}"
        self._session = registry.session
        self._base = f"{registry.url}/v2/{self.name}"

    def push_blob(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        start = self._session.post(f"{self._base}/blobs/uploads/", timeout=10)
        place = urljoin(start.url, start.headers["Location"])
        self._session.put(place, params={"digest": digest}, data=content, timeout=10).raise_for_status()
        return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}

    def push_manifest(self, tag: str, manifest: dict[str, object]) -> dict[str, object]:
        content = json.dumps(manifest).encode()
        headers = {"Content-Type": str(manifest["mediaType"])}
        url = f"{self._base}/manifests/{tag}"
        self._session.put(url, data=content, headers=headers, timeout=10).raise_for_status()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(content)}

    def push_image(self, tag: str, media_type: str = MANIFEST, **config: list[str]) -> dict[str, object]:
        """Push an image without layers, and return what an index says of it."""
        blob = self.push_blob(json.dumps({"config": config}).encode())
        return self.push_manifest(tag, {"schemaVersion": 2, "mediaType": media_type, "config": blob, "layers": []})

    def push_index(self, tag: str, media_type: str = INDEX) -> dict[str, object]:
        """Push an index of an image for arm64 and one for amd64, whose ENTRYPOINTs are /arm64 and /amd64."""
        kind = MANIFEST if media_type == INDEX else DOCKER_MANIFEST
        entries = [
            {**self.push_image(arch, kind, Entrypoint=[f"/{arch}"]), "platform": {"os": "linux", "architecture": arch}}
            for arch in ("arm64", "amd64")
        ]
        return self.push_manifest(tag, {"schemaVersion": 2, "mediaType": media_type, "manifests": entries})


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Stand:
    """An HTTP server that stands for a registry. ``answer`` is set by the test; it writes each response itself.

    ``asked`` records each request: its method, path and Authorization header.
    """

    def __init__(self, authority: Authority | None = None) -> None:
        self.answer: Answer = lambda request: send(request, 404)
        self.asked: list[tuple[str, str, str | None]] = []
        stand = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stand.asked.append((self.command, self.path, self.headers.get("Authorization")))
                stand.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.certificate, authority.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if authority else 'http'}://{self.host}"
        self.over = threading.Event()

    def __enter__(self) -> Stand:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def hang(self, _: http.server.BaseHTTPRequestHandler) -> None:
        """Answer nothing while the test lasts."""
        self.over.wait(60)

    def drip(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer a few bytes each second."""
        send(request, 200, b"", {"Content-Length": "100000"})
        while not self.over.wait(0.2):
            try:
                request.wfile.write(b" ")
            except OSError:
                return


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


def send(
    request: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> None:
    """Write a whole response."""
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
