"""Registries that misbehave: each costs a look-up some seconds at most, the next one nothing, and says why."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import transport as _transport
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import Endpoints
from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, look_up
from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import DEADLINE
from support.registry.looking import Cluster, look, pull_secret, refusal
from support.registry.registries import PASSWORD, USER, Stand, send

# What a busy machine may add to a deadline.
SLACK = 2.0


@pytest.fixture
def silent():
    """Return the host of a port that takes no connection and refuses none: its queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def timed(*arguments, **options) -> tuple[TaskError, float]:
    start = time.monotonic()
    error = refusal(*arguments, **options)
    return error, time.monotonic() - start


def challenge(stand: Stand, scope: str = "repository:x:pull") -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="{stand.url}/token?a=b",service="the-registry",scope="{scope}"'}


class Hub:
    """A registry with a server of tokens, as Docker Hub has it: nobody gets in without a token, anybody gets one."""

    def __init__(self, stand: Stand, users_only: bool = False) -> None:
        self.stand, self.users_only = stand, users_only
        config = b'{"config": {"Entrypoint": ["/hub"]}}'
        manifest = json.dumps({"config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}}).encode()
        self.content = {"manifests": manifest, "blobs": config}
        stand.answer = self

    def __call__(self, request) -> None:
        user = request.headers.get("Authorization")
        if request.path.startswith("/token"):
            is_user = user == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if is_user or not (user or self.users_only):
                send(request, 200, json.dumps({"token": "a-token"}).encode())
            else:
                send(request, 401)
        elif user != "Bearer a-token":
            send(request, 401, b"", challenge(self.stand))
        else:
            send(request, 200, self.content[request.path.split("/")[-2]])


def test_a_token_is_asked_for_as_nobody(stand, authority):
    Hub(stand)
    assert look(f"{stand.host}/x:v1", ca_file=authority.ca).entrypoint == ("/hub",)
    asked = next(path for _, path, _ in stand.asked if path.startswith("/token"))
    assert parse_qs(urlsplit(asked).query) == {"a": ["b"], "service": ["the-registry"], "scope": ["repository:x:pull"]}


def test_a_token_is_asked_for_as_a_user(stand, authority):
    Hub(stand, users_only=True)
    cluster = Cluster(s=pull_secret(stand.host), wrong=pull_secret(stand.host, password="wrong-word"))
    assert look(f"{stand.host}/x:v1", cluster, "s", ca_file=authority.ca).entrypoint == ("/hub",)
    message = refusal(f"{stand.host}/x:v1", cluster, "wrong", ca_file=authority.ca).message
    assert 'it refuses the credentials of pull secret "wrong" (HTTP 401)' in message
    message = refusal(f"{stand.host}/x:v1", ca_file=authority.ca).message
    assert (
        "it asks for credentials (HTTP 401), and neither the Pod nor its ServiceAccount names a pull secret" in message
    )


def test_a_password_goes_over_tls_only(authority):
    with Stand() as stand:
        stand.answer = lambda request: send(request, 401, b"", {"WWW-Authenticate": 'Basic realm="r"'})
        cluster = Cluster(s=pull_secret(stand.host))
        message = refusal("localhost:1/x", cluster, "s", mirrors={"localhost:1": [stand.url]}).message
        assert f"{stand.host}: it asks for credentials, which are sent over TLS only" in message
        assert {user for _, _, user in stand.asked} == {None}


def test_a_password_does_not_follow_to_another_host(stand, authority):
    with Stand(authority) as elsewhere:
        elsewhere.answer = lambda request: send(request, 404)
        place = elsewhere.url.replace("127.0.0.1", "localhost")

        def answer(request) -> None:
            if request.headers.get("Authorization"):
                send(request, 307, b"", {"Location": f"{place}/blob"})
            else:
                send(request, 401, b"", {"WWW-Authenticate": 'Basic realm="r"'})

        stand.answer = answer
        refusal(f"{stand.host}/x", Cluster(s=pull_secret(stand.host)), "s", ca_file=authority.ca)
        assert any(user for _, _, user in stand.asked)
        assert not any(user for _, _, user in elsewhere.asked)


@pytest.mark.parametrize("header", ["", "Bearer", 'Bearer service="x"', 'Basic realm="', "Negotiate", "\u00e9"])
def test_a_strange_question_for_credentials_is_no_crash(stand, authority, header):
    stand.answer = lambda request: send(request, 401, b"", {"WWW-Authenticate": header} if header else {})
    for cluster in (Cluster(), Cluster(s=pull_secret(stand.host))):
        message = refusal(f"{stand.host}/x", cluster, *cluster.secrets, ca_file=authority.ca).message
        assert "credentials" in message or "makes no sense" in message


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"token": 1}'])
def test_a_strange_token_is_no_crash(stand, authority, body):
    def answer(request) -> None:
        if request.path.startswith("/token"):
            send(request, 200, body)
        else:
            send(request, 401, b"", challenge(stand))

    stand.answer = answer
    message = refusal(f"{stand.host}/x", ca_file=authority.ca).message
    assert "makes no sense" in message


@pytest.mark.parametrize(("header", "wait", "words"), [("37", 37, ", and asks to wait 37 s"), (None, 10, "")])
def test_a_rate_limit_is_told_and_waited_for(stand, authority, header, wait, words):
    stand.answer = lambda request: send(request, 429, b"", {"Retry-After": header} if header else {})
    error = refusal(f"{stand.host}/x", ca_file=authority.ca)
    assert f"it limits how often it may be asked (HTTP 429 Too Many Requests){words}. " in error.message
    assert error.retry_after == wait


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_other_refusals_are_told_with_their_status(stand, authority, status):
    stand.answer = lambda request: send(request, status)
    assert f"HTTP {status}" in refusal(f"{stand.host}/x", ca_file=authority.ca).message


def test_a_registry_that_knows_no_head_is_asked_by_get(stand, authority):
    hub = Hub(stand)
    stand.answer = lambda request: send(request, 405) if request.command == "HEAD" else hub(request)
    assert look(f"{stand.host}/x", ca_file=authority.ca).entrypoint == ("/hub",)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"schemaVersion": 1}', b'{"config": {"digest": "x"}}'])
def test_a_manifest_that_makes_no_sense_is_told(stand, authority, body):
    stand.answer = lambda request: send(request, 200, body)
    message = refusal(f"{stand.host}/x", ca_file=authority.ca).message
    assert "its manifest" in message or "its image's configuration" in message


def test_an_answer_without_end_is_not_read_to_its_end(stand, authority, monkeypatch):
    monkeypatch.setattr(_transport, "MAX_BYTES", 1024**2)
    stand.answer = lambda request: send(request, 200, b" " * (3 * 1024**2))
    assert "it sends more than 1 MiB for a manifest" in refusal(f"{stand.host}/x", ca_file=authority.ca).message


def test_a_connection_that_is_cut_is_told(stand, authority):
    stand.answer = lambda request: request.connection.shutdown(socket.SHUT_RDWR)
    assert "no connection (" in refusal(f"{stand.host}/x", ca_file=authority.ca).message


def test_a_host_that_is_not_there_is_told():
    message = refusal("no-such-host.invalid/x").message
    assert "no-such-host.invalid: no connection (" in message


def test_no_connection_is_waited_for_three_seconds_once(silent, tmp_path):
    error, seconds = timed(f"{silent}/x", cache_dir=str(tmp_path))
    assert f"{silent}: no connection within 3 s. Check that the operator can reach the registry" in error.message
    assert 2.5 < seconds < 3 + SLACK
    error, seconds = timed(f"{silent}/y", cache_dir=str(tmp_path))
    assert f"{silent}: no connection within 3 s (it is asked again in " in error.message
    assert seconds < 0.5
    assert 5 < error.retry_after <= 10


def test_a_host_that_takes_the_connection_and_says_nothing_rests_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        error, seconds = timed(f"{host}/x", cache_dir=str(tmp_path))
        assert f"{host}: no answer within 3 s. " in error.message
        assert seconds < 3 + SLACK
        assert "(it is asked again in " in timed(f"{host}/y", cache_dir=str(tmp_path))[0].message


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_registry_that_does_not_come_to_an_end_is_given_up(stand, authority, tmp_path, kind):
    stand.answer = getattr(stand, kind)
    error, seconds = timed(f"{stand.host}/x", ca_file=authority.ca, cache_dir=str(tmp_path))
    assert f"{stand.host}: no answer within 5 s" in error.message
    assert DEADLINE - 0.5 < seconds < DEADLINE + SLACK
    error, seconds = timed(f"{stand.host}/y", ca_file=authority.ca, cache_dir=str(tmp_path))
    assert f"{stand.host}: no answer within 5 s (it is asked again in " in error.message
    assert seconds < 0.5


def test_the_look_up_of_a_hosts_name_is_given_up_too(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(30))
    error, seconds = timed("slow-name.example/x")
    assert "slow-name.example: no answer within 5 s" in error.message
    assert seconds < DEADLINE + SLACK


def test_a_mirror_that_hangs_leaves_the_registry_unblamed(stand, trusted, authority, tmp_path):
    stand.answer = stand.hang
    repository = trusted.repository()
    repository.push_image("v1", Cmd=["x"])
    options = {"mirrors": {trusted.host: [stand.url]}, "ca_file": authority.ca, "cache_dir": str(tmp_path)}
    error, _ = timed(f"{repository.image}:v1", **options)
    assert f"{stand.host}: no answer within 5 s" in error.message
    assert look(f"{repository.image}:v1", **options).cmd == ("x",)


def test_many_images_are_asked_for_at_once(stand, authority):
    hub = Hub(stand)

    def answer(request) -> None:
        time.sleep(0.3)
        hub(request)

    stand.answer = answer
    images = [f"{stand.host}/x{number}:v1" for number in range(6)]
    start = time.monotonic()
    settings = LookupSettings({}, "amd64", ca_file=authority.ca)
    found = look_up(Cluster(), "team", "default", [], images, settings)
    assert list(found) == images
    # One after the other would take five requests of 0.3 s each, six times.
    assert time.monotonic() - start < 5 * 0.3 + SLACK


def test_one_that_hangs_takes_the_others_not_along_for_good(stand, trusted, authority, tmp_path):
    """What was found for the other images is kept, though the look-up fails."""
    stand.answer = stand.hang
    repository = trusted.repository()
    digest = repository.push_image("v1", Cmd=["x"])["digest"]
    settings = LookupSettings({}, "amd64", authority.ca, str(tmp_path))
    with pytest.raises(TaskError, match=f"{stand.host}/x could not be read"):
        look_up(Cluster(), "team", "default", [], [f"{repository.image}:v1", f"{stand.host}/x"], settings)
    assert look(f"{repository.image}@{digest}", cache_dir=str(tmp_path)).cmd == ("x",)


PROGRAM = """
import sys
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, look_up


class Cluster:
    def get(self, kind, namespace, name):
        return None


host, ca_file, cache_dir = sys.argv[1:]
try:
    settings = LookupSettings({}, "amd64", ca_file, cache_dir)
    print(look_up(Cluster(), "n", "default", [], [f"{host}/x"], settings))
except TaskError as error:
    print(error.reason, error.message)
"""


def start_process(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_process_ends_though_its_threads_hang_and_others_need_not_wait(stand, authority, tmp_path):
    stand.answer = stand.drip
    arguments = (stand.host, authority.ca, str(tmp_path))
    start = time.monotonic()
    first = start_process(*arguments)
    while not stand.asked:
        assert time.monotonic() < start + 30
        time.sleep(0.05)
    second = start_process(*arguments)
    output, errors = second.communicate(timeout=60)
    assert output.startswith("ImageLookupPending")
    assert first.poll() is None, "the second one has its answer before the first"
    output, errors = first.communicate(timeout=60)
    assert output.startswith("ImageLookupFailed")
    assert (first.returncode, errors) == (0, "")
    assert time.monotonic() - start < DEADLINE + 2 * SLACK
    assert Endpoints(str(tmp_path)).resting(stand.url).words.startswith("no answer within 5 s")


def test_a_registry_that_answered_is_asked_by_many_at_once(stand, authority, tmp_path):
    Hub(stand)
    look(f"{stand.host}/first", ca_file=authority.ca, cache_dir=str(tmp_path))
    running = [start_process(stand.host, authority.ca, str(tmp_path)) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert all("/hub" in output for output in outputs), outputs


def test_a_host_that_is_known_not_to_be_there_only_after_a_while_rests_too(monkeypatch, tmp_path):
    def resolve(*_: object, **__: object) -> None:
        time.sleep(1.5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said = "slow-name.example: no connection (Temporary failure in name resolution)"
    assert said + ". " in timed("slow-name.example/x", cache_dir=str(tmp_path))[0].message
    error, seconds = timed("slow-name.example/y", cache_dir=str(tmp_path))
    assert said + " (it is asked again in " in error.message
    assert seconds < 0.5
