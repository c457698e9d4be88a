"""The decisions of a look-up, without a registry: who is asked, as whom, and what is said."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import lookup as _lookup
from ansible_collections.taskflow.operator.plugins.module_utils._image import registry as _registry
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import Endpoints, ImageCache
from ansible_collections.taskflow.operator.plugins.module_utils._image.credentials import Credential, Keyring
from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, look_up
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig, parse_image
from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import Cause, RegistryFailure
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import Kind
from support.registry.shelf import Shelf


class Cluster:
    """Secrets and ServiceAccounts in memory."""

    def __init__(self, secrets: dict | None = None, accounts: dict | None = None) -> None:
        self.objects = {"secrets": secrets or {}, "serviceaccounts": accounts or {}}
        self.read: list[str] = []

    def get(self, kind: Kind, namespace: str, name: str) -> dict | None:
        assert namespace == "team"
        self.read.append(f"{kind.plural}/{name}")
        found = self.objects[kind.plural].get(name)
        if isinstance(found, TaskError):
            raise found
        return found


def docker_secret(key: str, user: str = "u", password: str = "PASSWORD") -> dict:
    content = json.dumps({"auths": {key: {"username": user, "password": password}}})
    return {
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
    }


FORBIDDEN = TaskError("Forbidden", "could not read Secret team/s: secrets is forbidden")


def keyring(cluster: Cluster, names: list[str], account: str = "default") -> Keyring:
    return _lookup._read_keyring(cluster, "team", account, names)


def test_the_service_accounts_secrets_count_only_when_the_pod_names_none():
    cluster = Cluster(
        {"a": docker_secret("a.example"), "b": docker_secret("b.example")},
        {"runner": {"imagePullSecrets": [{"name": "b"}, {}]}},
    )
    found = keyring(cluster, ["a", "", "a"], "runner")
    assert ([credential.key for credential in found.credentials], cluster.read) == (["a.example"], ["secrets/a"])
    cluster.read.clear()
    found = keyring(cluster, [], "runner")
    assert [credential.key for credential in found.credentials] == ["b.example"]
    assert cluster.read == ["serviceaccounts/runner", "secrets/b"]
    assert found.problems == ()


def test_secrets_that_are_no_use_are_told_and_stop_nothing():
    cluster = Cluster({"b": {"type": "Opaque"}, "c": docker_secret("c.example"), "d": FORBIDDEN}, {"x": FORBIDDEN})
    found = keyring(cluster, ["a", "b", "c", "d"])
    assert [credential.key for credential in found.credentials] == ["c.example"]
    assert found.problems == (
        'pull secret "a" is not there in namespace team',
        'pull secret "b" is of type Opaque, not kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg',
        'pull secret "d" of namespace team may not be read by the operator',
    )
    assert keyring(cluster, [], "x").problems == (
        'ServiceAccount "x" of namespace team may not be read by the operator',
    )
    assert keyring(cluster, [], "y").problems == ('ServiceAccount "y" is not there in namespace team',)


def test_an_api_server_that_does_not_answer_is_no_missing_secret():
    cluster = Cluster({"a": TaskError("APIUnreachable", "could not read Secret team/a: no answer")})
    with pytest.raises(TaskError) as caught:
        keyring(cluster, ["a"])
    assert (caught.value.reason, caught.value.retry_after) == ("APIUnreachable", 10)


def test_credentials_go_only_where_they_are_for():
    hub, mirror = Credential("hub", "index.docker.io", "u", "p"), Credential("m", "m.example:5000", "u", "p")
    ring, name = Keyring((hub, mirror)), parse_image("busybox")
    assert _lookup.credentials_for("https://registry-1.docker.io", name, ring) == [hub]
    assert _lookup.credentials_for("https://m.example:5000", name, ring) == [mirror]
    assert _lookup.credentials_for("https://m.example", name, ring) == []
    assert _lookup.credentials_for("https://r.example", parse_image("r.example/x"), ring) == []


class Stage:
    """Takes the place of the registries: what each answers for each user, and who was asked as whom."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, url, repository, credential, ca_file, deadline):
        user = credential.username if credential else None
        host = url.partition("//")[2]
        self.asked.append((host, user))
        answer = self.answers[host.partition(".")[0]]
        answer = answer.get(user) if isinstance(answer, dict) else answer
        return _Answer(answer)


class _Answer(Shelf):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.add_image("latest", Entrypoint=[str(answer)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def digest_of(self, reference):
        if isinstance(self.answer, Exception):
            raise self.answer


DENIED, MISSING = RegistryFailure(Cause.DENIED, "HTTP 401"), RegistryFailure(Cause.MISSING, "it has no such image")


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Return a function that looks up m.example's mirror and r.example itself, as they answer on the stage."""
    from ansible_collections.taskflow.operator.plugins.module_utils._image import transport as _transport

    def look(stage: Stage, cluster: Cluster | None = None, *names: str, images=("r.example/x",), cache=True):
        monkeypatch.setattr(_transport, "Repository", stage)
        settings = LookupSettings(
            {"r.example": ["https://m.example"]}, "amd64", cache_dir=str(tmp_path) if cache else None
        )
        return look_up(cluster or Cluster(), "team", "default", names, images, settings)

    return look


def fails(ask, *arguments, **options) -> TaskError:
    with pytest.raises(TaskError) as caught:
        ask(*arguments, **options)
    assert caught.value.permanent is False
    assert caught.value.retry_after > 0
    assert "PASSWORD" not in caught.value.message
    return caught.value


def test_mirrors_first_then_the_registry(ask):
    assert ask(Stage(m=MISSING, r="/e"))["r.example/x"].entrypoint == ("/e",)
    stage = Stage(m="/m", r="/r")
    assert ask(stage)["r.example/x"].entrypoint == ("/m",)
    assert stage.asked == [("m.example", None)]


def test_every_users_credentials_are_tried_and_a_mirror_gets_none_of_them(ask):
    cluster = Cluster({"a": docker_secret("r.example/x", "one"), "b": docker_secret("r.example", "two")})
    stage = Stage(m=DENIED, r={"one": DENIED, "two": "/e"})
    assert ask(stage, cluster, "b", "a")["r.example/x"].entrypoint == ("/e",)
    assert stage.asked == [("m.example", None), ("r.example", "one"), ("r.example", "two")]


def test_refused_credentials_are_named_by_their_secret(ask):
    cluster = Cluster({"a": docker_secret("r.example"), "b": docker_secret("r.example")})
    error = fails(ask, Stage(m=MISSING, r=DENIED), cluster, "a", "b", "gone")
    assert error.reason == "ImageLookupFailed"
    assert error.message == (
        "the ENTRYPOINT of image r.example/x could not be read: m.example: it has no such image; r.example: it refuses "
        'the credentials of pull secret "a", "b" (HTTP 401), and pull secret "gone" is not there in namespace team. '
        "Check the image's name, for many registries say so of one that is not there, and the pull secrets in "
        "spec.podTemplate.imagePullSecrets or of the ServiceAccount; or give the step a command"
    )


def test_it_is_told_when_no_secret_matches_or_there_is_none(ask):
    cluster = Cluster({"a": docker_secret("other.example")}, {"default": {}})
    message = fails(ask, Stage(m=DENIED, r=DENIED), cluster, "a").message
    assert 'r.example: it asks for credentials (HTTP 401): none of the pull secrets "a" matches r.example/x' in message
    assert 'none of the pull secrets "a" matches m.example/x' in message
    message = fails(ask, Stage(m=DENIED, r=DENIED), cluster).message
    assert "it asks for credentials (HTTP 401), and neither the Pod nor its ServiceAccount names a pull" in message


def test_a_rate_limit_is_waited_for_but_not_for_ever(ask):
    for seconds, wait in ((None, 10), (37.0, 37), (86400.0, 3600)):
        error = fails(ask, Stage(m=MISSING, r=RegistryFailure(Cause.BUSY, "too many requests", seconds)))
        assert (error.reason, error.retry_after) == ("ImageLookupFailed", wait)


def test_what_did_not_answer_is_not_asked_again_soon_and_no_secret_is_read_for_it(ask):
    slow = RegistryFailure(Cause.TIMEOUT, "no connection within 3 s")
    assert "m.example: no connection within 3 s; r.example: no conn" in fails(ask, Stage(m=slow, r=slow)).message
    stage, cluster = Stage(m="/e", r="/e"), Cluster()
    error = fails(ask, stage, cluster)
    assert "m.example: no connection within 3 s (it is asked again in 10 s)" in error.message
    assert 9 <= error.retry_after <= 10
    assert (stage.asked, cluster.read) == ([], [])
    assert ask(Stage(m="/e", r="/e"), cache=False)["r.example/x"].entrypoint == ("/e",)


def test_a_resting_mirror_is_passed_over(ask):
    fails(ask, Stage(m=RegistryFailure(Cause.TIMEOUT, "no answer"), r=MISSING))
    stage = Stage(m="/m", r="/r")
    assert ask(stage)["r.example/x"].entrypoint == ("/r",)
    assert stage.asked == [("r.example", None)]


def test_what_another_process_is_asking_is_pending(ask, tmp_path):
    other = Endpoints(str(tmp_path))
    assert other.admit("https://m.example") is None
    error = fails(ask, Stage(m="/m", r=MISSING))
    assert error.reason == "ImageLookupPending"
    assert "r.example/x is not known yet: m.example: it is being asked by another Task's look-up; r.ex" in error.message
    assert ask(Stage(m="/m", r="/r"))["r.example/x"].entrypoint == ("/r",)
    other.close()


def test_all_images_are_returned_and_the_first_failure_counts(ask):
    images = ("r.example/b", "m.example/a")
    assert list(ask(Stage(m="/m", r="/r"), images=images)) == list(images)
    stage = Stage(m=MISSING, r=MISSING)
    assert "image r.example/b " in fails(ask, stage, images=images).message


def test_a_name_that_is_none_fails_before_anything_is_asked(ask):
    stage, cluster = Stage(), Cluster()
    with pytest.raises(TaskError) as caught:
        ask(stage, cluster, images=("r.example/x", "UPPER"))
    assert (caught.value.reason, caught.value.permanent, stage.asked, cluster.read) == (
        "InvalidImageName",
        True,
        [],
        [],
    )


def test_a_programs_error_is_not_taken_for_a_registrys(ask):
    with pytest.raises(ZeroDivisionError):
        ask(Stage(m=ZeroDivisionError(), r="/r"))


def test_a_digest_that_is_known_needs_neither_network_nor_secrets_nor_their_libraries(tmp_path):
    digest = "sha256:" + "0" * 64
    ImageCache(str(tmp_path)).put(digest, "amd64", ImageConfig(("/e",)))
    program = (
        "import sys\n"
        "from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, look_up\n"
        "from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import HAS_DXF\n"
        "settings = LookupSettings({}, 'amd64', cache_dir=sys.argv[1])\n"
        "print(look_up(None, 'n', 'default', ['s'], [f'r.example/x@{sys.argv[2]}'], settings))\n"
        "print(HAS_DXF, {'dxf', 'requests', 'urllib3', 'ssl', 'concurrent.futures'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path), digest]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "ImageConfig(entrypoint=('/e',), cmd=())" in result.stdout
    assert result.stdout.endswith("True set()\n")


def test_the_local_architecture_is_named_as_images_name_it(monkeypatch):
    monkeypatch.setattr(_registry.platform, "machine", lambda: "aarch64")
    assert _registry.local_architecture() == "arm64"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("37", 37),
        ("0", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 59),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0),
        ("-1", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header, seconds):
    from ansible_collections.taskflow.operator.plugins.module_utils._image.transport import retry_after

    assert retry_after(header, now=946684740.0) == seconds
