"""An API proxy before a fake API server, and a client with a run's kubeconfig."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client
from support.api.proxy_harness import WATCH, Client, FakeApiServer

from taskflow_controller.proxy import ApiProxy


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    server.close()


@pytest.fixture
def configuration(server: FakeApiServer) -> client.Configuration:
    return client.Configuration(host=server.url)


@pytest.fixture
def proxy(configuration: client.Configuration) -> Iterator[ApiProxy]:
    proxy = ApiProxy(client.ApiClient(configuration))
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def play(proxy: ApiProxy, tmp_path: Path) -> Iterator[Client]:
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        yield Client(kubeconfig)
