"""The role taskflow_agent against registries of several kinds: it publishes once, and gives no secret away."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.executable import base_image, engine
from support.registry.registries import PASSWORD, USER, Authority, Registry

ROOT = Path(__file__).resolve().parents[3]
NAME = "taskflow/agent:v1"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
ANOTHER = {"amd64": "arm64", "arm64": "amd64"}[ARCH]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Where the tests share the executable."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def publish(cache):
    """Runs the role, with all that Ansible can tell."""
    images = set()

    def run(**variables: object) -> subprocess.CompletedProcess[str]:
        settings = {f"taskflow_agent_{name}": value for name, value in variables.items()}
        settings.setdefault("taskflow_agent_base_image", base_image())
        settings["taskflow_agent_build_dir"] = str(cache)
        images.add(str(settings["taskflow_agent_image"]))
        file = cache / "variables.json"
        file.write_text(json.dumps(settings))
        command = ["ansible-playbook", "-vvv", "taskflow.operator.agent_image", "-e", f"@{file}"]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False, env=environment, cwd=ROOT
        )

    yield run
    subprocess.run([engine(), "rmi", "--force", *images], capture_output=True, check=False)


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Iterator[tuple[Registry, Authority]]:
    """A registry with users and a CA of its own."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with Registry(tmp_path_factory.mktemp("private"), authority, users=True) as registry:
        yield registry, authority


def image_config(registry: Registry) -> dict[str, object]:
    """Return the configuration of the image that was pushed."""
    base = f"{registry.url}/v2/{NAME.partition(':')[0]}"
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    manifest = registry.session.get(f"{base}/manifests/v1", headers={"Accept": accept}, timeout=30).json()
    config: dict[str, object] = registry.session.get(f"{base}/blobs/{manifest['config']['digest']}", timeout=30).json()
    return config


def changed(run: subprocess.CompletedProcess[str]) -> bool:
    """Return whether a run that succeeded has changed anything."""
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr
    return "changed=0" not in run.stdout


@pytest.mark.parametrize("way", ["password", "authfile"])
def test_it_pushes_with_a_log_in_and_a_private_ca_and_only_once(publish, private, tmp_path, way):
    registry, authority = private
    image = f"{registry.host}/{way}/agent:v1"
    basic = "YWxpY2U6d29uZGVybGFuZA=="
    login: dict[str, object] = {"registry_username": USER, "registry_password": PASSWORD}
    if way == "authfile":
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": basic}}}))
        login = {"authfile": str(tmp_path / "auth.json")}
    settings = {"image": image, "registry_ca": Path(authority.ca).read_text(), **login}
    first = publish(**settings)
    assert changed(first)
    again = publish(**settings)
    assert not changed(again)
    for run in (first, again):
        assert PASSWORD not in run.stdout + run.stderr
        assert basic not in run.stdout + run.stderr
    assert registry.session.get(f"{registry.url}/v2/{way}/agent/tags/list", timeout=30).json()["tags"] == ["v1"]


def test_nothing_of_a_log_in_stays_on_the_disk(publish, private, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    registry, authority = private
    run = publish(
        image=f"{registry.host}/{NAME}",
        registry_ca=Path(authority.ca).read_text(),
        registry_username=USER,
        registry_password="wrong",
    )
    assert run.returncode != 0
    assert "wrong" not in run.stdout + run.stderr
    assert list(tmp_path.glob("taskflow-agent-*")) == []


def test_without_the_ca_it_does_not_trust_the_registry(publish, private):
    registry, _ = private
    run = publish(image=f"{registry.host}/{NAME}", registry_username=USER, registry_password=PASSWORD)
    assert run.returncode != 0


@pytest.mark.parametrize("arch", [ARCH, ANOTHER])
def test_the_image_says_what_it_is(publish, tmp_path, arch):
    with Registry(tmp_path) as registry:
        run = publish(image=f"{registry.host}/{NAME}", registry_insecure=True, arch=arch)
        assert changed(run)
        config = image_config(registry)
    assert config["architecture"] == arch
    assert len(config["config"]["Labels"]["io.taskflow.agent.source-hash"]) == 64


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"image": "agent"}, "taskflow_agent_image is to be REGISTRY/NAME:TAG, not agent"),
        ({"registry_username": USER}, "Set both taskflow_agent_registry_username and taskflow_agent_registry_password"),
        ({"push": False, "arch": "s390x"}, "The agent cannot be built for s390x"),
        ({"push": False, "base_image": "127.0.0.1:1/no:image"}, "and the base image 127.0.0.1:1/no:image"),
    ],
)
def test_what_cannot_be_is_told_in_full(publish, variables, words):
    run = publish(**{"image": "registry.example.com/agent:v1", **variables})
    assert run.returncode != 0
    assert words in " ".join(run.stdout.split())
