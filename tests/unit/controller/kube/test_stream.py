"""A watch over a real connection: it comes in pieces, and can be interrupted while nothing comes."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from support.api.fake_cluster import line
from support.api.proxy_harness import until

from taskflow_controller.kube.api import ApiServer, Stream
from taskflow_controller.kube.informers import Change, ResourceInformer
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.kube.store import Store
from taskflow_controller.proxy.certificate import make_context

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
OBJECT = {"kind": "Widget", "metadata": {"name": "ü", "namespace": "ns", "uid": "u", "resourceVersion": "7"}}


class Handler(BaseHTTPRequestHandler):
    """Serves a kind, an empty list and, in chunks that cut a line and a character, a watch that then is silent."""

    protocol_version = "HTTP/1.1"
    silence = threading.Event()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if "watch=true" in query:
            self._watch()
        elif path.endswith("/widgets"):
            self._answer(200, {"metadata": {"resourceVersion": "5"}, "items": []})
        elif path == "/apis/example.com/v1":
            self._answer(200, {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True}]})
        else:
            self._answer(429, {"message": "busy"}, ("Retry-After", "7"))

    def _answer(self, status: int, body: object, *headers: tuple[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        event = line("ADDED", OBJECT)
        cut = event.index("ü".encode()) + 1
        for piece in (event[:cut], event[cut:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.02)
        self.silence.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that leave."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture(params=["http", "https"])
def api(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    Handler.silence = threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    configuration = client.Configuration(host=f"{request.param}://127.0.0.1:{server.server_port}")
    configuration.verify_ssl = False
    configuration.retries = False
    if request.param == "https":
        context: ssl.SSLContext = make_context()[0]
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ApiServer(client.ApiClient(configuration))
    Handler.silence.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def test_an_informer_reads_a_watch_and_stops_within_a_moment(api: ApiServer) -> None:
    changes: list[Change] = []
    informer = ResourceInformer(api, WIDGET, on_change=changes.append, store=Store())
    informer.start()
    until(lambda: informer.version == 7)
    assert [change.new for change in changes] == [OBJECT]
    begun = time.monotonic()
    informer.stop()
    assert time.monotonic() - begun < 1, "it does not wait"
    until(lambda: not informer.alive, timeout=5)


def test_an_interrupt_wakes_the_reader(api: ApiServer) -> None:
    stream = api.stream("/apis/example.com/v1/widgets", {"watch": "true"}, 30.0)
    pieces: list[bytes] = []
    reader = threading.Thread(target=lambda: pieces.extend(_read(stream)))
    reader.start()
    time.sleep(0.3)
    assert reader.is_alive()
    stream.interrupt()
    reader.join(5)
    assert not reader.is_alive() and len(pieces) == 2
    stream.close()
    stream.interrupt()  # nothing is left to interrupt


def test_silence_is_an_error(api: ApiServer) -> None:
    stream = api.stream("/apis/example.com/v1/widgets", {"watch": "true"}, 0.3)
    with pytest.raises(urllib3.exceptions.HTTPError):
        list(stream)
    stream.close()


def test_a_refusal_has_its_headers(api: ApiServer) -> None:
    with pytest.raises(ApiException) as caught:
        api.stream("/nothing", {}, 5.0)
    assert caught.value.status == 429 and caught.value.headers.get("retry-after") == "7"


def _read(stream: Stream) -> Iterator[bytes]:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        yield from stream
