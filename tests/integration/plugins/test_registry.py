"""Looking images up in real registries, as users and as nobody, over TLS and without."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import ImageCache
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from support.registry.looking import Cluster, look, pull_secret, refusal
from support.registry.registries import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX,
    OTHER_PASSWORD,
    OTHER_USER,
    PASSWORD,
    USER,
    Authority,
    Registry,
    Stand,
)

NOBODY = "http://127.0.0.1:1"


def test_tag_digest_and_the_default_tag(plain):
    repository = plain.repository()
    pushed = repository.push_image("latest", Entrypoint=["/run", "a b"], Cmd=["c"])
    expected = ImageConfig(("/run", "a b"), ("c",))
    for reference in ("", ":latest", f"@{pushed['digest']}", f":old@{pushed['digest']}"):
        assert look(repository.name + reference, mirrors={"docker.io": [plain.url]}) == expected


@pytest.mark.parametrize("media_type", [INDEX, DOCKER_LIST])
def test_an_index_leads_to_the_architectures_own_image(plain, media_type):
    repository = plain.repository()
    index = repository.push_index("v1", media_type)
    mirrors = {"docker.io": [plain.url], "localhost:1": [plain.url]}
    for architecture in ("arm64", "amd64"):
        for reference in (":v1", f"@{index['digest']}"):
            found = look(repository.name + reference, architecture=architecture, mirrors=mirrors)
            assert found.entrypoint == (f"/{architecture}",)
    message = refusal(f"localhost:1/{repository.name}:v1", architecture="s390x", mirrors=mirrors).message
    assert f"{plain.host}: it has no image for linux/s390x" in message


def test_a_single_manifest_of_docker(plain):
    repository = plain.repository()
    repository.push_image("v1", DOCKER_MANIFEST, Cmd=["sh"])
    assert look(f"{repository.name}:v1", mirrors={"docker.io": [plain.url]}) == ImageConfig((), ("sh",))


def test_docker_hubs_names_are_filled_in(authority):
    with Stand() as mirror:
        for image in ("busybox", "docker.io/busybox:latest", "index.docker.io/library/busybox"):
            refusal(image, mirrors={"docker.io": [mirror.url]})
        assert {path for _, path, _ in mirror.asked} == {"/v2/library/busybox/manifests/latest"}


def test_an_image_with_neither_entrypoint_nor_cmd(plain):
    repository = plain.repository()
    repository.push_image("v1")
    assert look(f"{repository.name}:v1", mirrors={"docker.io": [plain.url]}) == ImageConfig()


def test_the_next_mirror_is_asked_when_one_does_not_answer(plain):
    repository = plain.repository()
    repository.push_image("v1", Cmd=["x"])
    assert look(f"{repository.name}:v1", mirrors={"docker.io": [NOBODY, plain.url]}) == ImageConfig((), ("x",))


def test_what_every_registry_said_is_told(plain):
    image = f"localhost:1/{plain.repository().name}:v9"
    message = refusal(image, mirrors={"localhost:1": [NOBODY, plain.url]}).message
    assert message == (
        f"the ENTRYPOINT of image {image} could not be read: 127.0.0.1:1: no connection (Connection refused); "
        f"{plain.host}: it has no such image or tag (HTTP 404 Not Found); localhost:1: no connection (Connection "
        "refused). Check the image's name and tag; or give the step a command"
    )


def test_what_is_cached_by_its_digest_needs_no_registry(tmp_path, authority):
    cache_dir = str(tmp_path / "cache")
    (tmp_path / "data").mkdir()
    with Registry(tmp_path / "data", authority) as registry:
        repository = registry.repository()
        pushed = repository.push_image("v1", Entrypoint=["/run"])
        found = look(f"{repository.image}:v1", ca_file=authority.ca, cache_dir=cache_dir)
    assert found.entrypoint == ("/run",)
    assert ImageCache(cache_dir).get(str(pushed["digest"]), "amd64") == found
    assert look(f"{repository.image}@{pushed['digest']}", cache_dir=cache_dir) == found
    assert "Connection refused" in refusal(f"{repository.image}:v1", ca_file=authority.ca, cache_dir=cache_dir).message


def test_a_tag_that_moved_is_noticed(plain, tmp_path):
    repository = plain.repository()
    options = {"mirrors": {"docker.io": [plain.url]}, "cache_dir": str(tmp_path)}
    for word in ("one", "two", "two"):
        repository.push_image("v1", Cmd=[word])
        assert look(f"{repository.name}:v1", **options).cmd == (word,)


def test_a_registry_with_a_ca_of_its_own(trusted, authority):
    repository = trusted.repository()
    repository.push_image("v1", Cmd=["x"])
    assert look(f"{repository.image}:v1", ca_file=authority.ca).cmd == ("x",)
    message = refusal(f"{repository.image}:v1").message
    assert f"{trusted.host}: its TLS certificate is not trusted (" in message
    assert message.endswith(
        "Have the registry's CA in the operator's variable taskflow_operator_registry_ca; or give the step a command"
    )


def test_a_ca_of_ones_own_takes_none_of_the_others_away(trusted, authority, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "data").mkdir()
    other = Authority(tmp_path / "other")
    with Registry(tmp_path / "data", other) as second:
        images = []
        for registry in (trusted, second):
            repository = registry.repository()
            repository.push_image("v1", Cmd=["x"])
            images.append(f"{repository.image}:v1")
        # Whom requests trusts, which are the public CAs where nothing else is said.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.ca)
        for image in images:
            assert look(image, ca_file=authority.ca).cmd == ("x",)


def test_a_certificate_for_another_host_is_not_for_want_of_a_ca(trusted, authority):
    port = trusted.host.rpartition(":")[2]
    message = refusal(f"localhost:{port}/x", ca_file=authority.ca).message
    assert "its TLS certificate is not trusted (Hostname mismatch" in message
    assert "taskflow_operator_registry_ca" not in message


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_that_is_none_is_told(trusted, tmp_path, content):
    if content is not None:
        (tmp_path / "ca.crt").write_text(content)
    message = refusal(f"{trusted.host}/x", ca_file=str(tmp_path / "ca.crt")).message
    assert f"the CA certificates in {tmp_path}/ca.crt can't be used: " in message
    assert "taskflow_operator_registry_ca" in message


def test_a_registry_that_speaks_no_tls_is_told(plain):
    message = refusal(f"{plain.host}/x").message
    assert f"{plain.host}: no TLS connection (" in message


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pull_secret_of_the_task(private, authority, legacy):
    repository = private.repository()
    repository.push_image("v1", Cmd=["x"])
    for key in (private.host, f"https://{private.host}/v1/", f"{private.host}/test"):
        cluster = Cluster(s=pull_secret(key, legacy=legacy))
        assert look(f"{repository.image}:v1", cluster, "s", ca_file=authority.ca).cmd == ("x",)


def test_a_pull_secret_of_the_service_account(private, authority):
    repository = private.repository()
    repository.push_image("v1", Cmd=["x"])
    cluster = Cluster(s=pull_secret(private.host), bad=pull_secret(private.host, password="wrong-word"))
    cluster.account = {"imagePullSecrets": [{"name": "s"}]}
    assert look(f"{repository.image}:v1", cluster, ca_file=authority.ca).cmd == ("x",)
    # One that the Pod names takes its place.
    refusal(f"{repository.image}:v1", cluster, "bad", ca_file=authority.ca)


def test_one_users_word_after_the_other_is_tried(private, authority):
    repository = private.repository()
    repository.push_image("v1", Cmd=["x"])
    cluster = Cluster(
        old=pull_secret(f"{private.host}/test", password="wrong-word"),
        new=pull_secret(private.host, OTHER_USER, OTHER_PASSWORD),
    )
    assert look(f"{repository.image}:v1", cluster, "old", "new", ca_file=authority.ca).cmd == ("x",)


def test_a_registry_that_lets_nobody_in_is_told_with_the_secrets_part_in_it(private, authority):
    image = f"{private.repository().image}:v1"
    ask = f"{private.host}: it asks for credentials (HTTP 401)"
    message = refusal(image, ca_file=authority.ca).message
    assert f"{ask}, and neither the Pod nor its ServiceAccount names a pull secret" in message
    cluster = Cluster(other=pull_secret("other.example"), wrong=pull_secret(private.host, password="wrong-word"))
    message = refusal(image, cluster, "other", "gone", ca_file=authority.ca).message
    assert f'{ask}: none of the pull secrets "other", "gone" matches {image.removesuffix(":v1")}, and pull' in message
    assert 'pull secret "gone" is not there in namespace team' in message
    message = refusal(image, cluster, "wrong", ca_file=authority.ca).message
    assert f'{private.host}: it refuses the credentials of pull secret "wrong" (HTTP 401)' in message


def test_an_image_that_is_not_there_is_told_apart_where_the_registry_lets_one_in(private, authority):
    cluster = Cluster(s=pull_secret(private.host))
    message = refusal(f"{private.host}/no/such:v1", cluster, "s", ca_file=authority.ca).message
    assert f"{private.host}: it has no such image or tag (HTTP 404 Not Found)" in message


def test_a_mirror_gets_what_is_for_itself(private, authority):
    repository = private.repository()
    repository.push_image("v1", Cmd=["x"])
    options = {"mirrors": {"localhost:1": [private.url]}, "ca_file": authority.ca}
    image = f"localhost:1/{repository.name}:v1"
    for_registry, for_mirror = Cluster(s=pull_secret("localhost:1")), Cluster(s=pull_secret(private.host))
    assert (
        f'none of the pull secrets "s" matches {private.host}/' in refusal(image, for_registry, "s", **options).message
    )
    assert look(image, for_mirror, "s", **options).cmd == ("x",)


def test_a_password_of_the_users_netrc_is_not_sent(private, authority, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    repository = private.repository()
    repository.push_image("v1", Cmd=["x"])
    assert "it asks for credentials" in refusal(f"{repository.image}:v1", ca_file=authority.ca).message
