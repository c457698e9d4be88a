"""A real API server, and in it a namespace and a CRD of the test's own."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from support.api.control_plane import ControlPlane
from support.controller.controller_harness import GROUP, PLAYBOOK, VERSION, Controller, Crd
from support.controller.trial import Trial


@pytest.fixture(scope="session")
def api() -> client.ApiClient:
    """A client of the cluster that KUBECONFIG names."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.fail("these tests need a cluster: set KUBECONFIG", pytrace=False)
    try:
        config.load_kube_config(path)
        client.VersionApi().get_code(_request_timeout=10)
    except Exception as exc:
        pytest.fail(f"these tests need a cluster: KUBECONFIG={path}: {exc}", pytrace=False)
    return client.ApiClient()


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[str]:
    """A namespace of the test's own."""
    core = client.CoreV1Api(api)
    name = f"ctl-try-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def other_namespace(api: client.ApiClient) -> Iterator[str]:
    """Another one."""
    core = client.CoreV1Api(api)
    name = core.create_namespace({"metadata": {"generateName": "ctl-try-other-"}}).metadata.name
    yield name
    core.delete_namespace(name)


@pytest.fixture
def new_crd(api: client.ApiClient) -> Iterator[Crd]:
    """A CRD that is not installed yet."""
    crd = Crd(api)
    yield crd
    crd.remove()


@pytest.fixture
def crd(new_crd: Crd) -> Crd:
    """An installed CRD."""
    new_crd.install()
    return new_crd


@pytest.fixture
def start(tmp_path: Path, namespace: str, new_crd: Crd) -> Iterator[Callable[..., Controller]]:
    """Start controllers for the CRD; whatever still runs at the end is killed."""
    (tmp_path / "noted").mkdir()
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    object_var = f"_{GROUP.replace('.', '_').replace('-', '_')}_{new_crd.kind.lower()}"
    watch = {
        "group": GROUP,
        "version": VERSION,
        "kind": new_crd.kind,
        "playbook": "play.yml",
        "manageStatus": False,
    }
    watch["vars"] = {"log": str(tmp_path / "noted"), "object_var": object_var}
    watch["watchDependents"] = [{"version": "v1", "kind": "ConfigMap", "fields": ["data.projected"]}]
    (tmp_path / "watches.yaml").write_text(json.dumps([watch]))
    started: list[Controller] = []

    def start_(*arguments: str, namespaces: str = namespace) -> Controller:
        started.append(Controller(tmp_path, f"runner{len(started)}", namespaces, arguments))
        return started[-1]

    yield start_
    for controller in started:
        if controller.process.poll() is None:
            controller.process.kill()
            controller.process.wait()


@pytest.fixture
def operate(start: Callable[..., Controller], tmp_path: Path, new_crd: Crd) -> Callable[..., Controller]:
    """Start a controller with a playbook of the test's own; other arguments are fields of its watch, or flags."""

    def operate_(playbook: str, *flags: str, **fields: Any) -> Controller:
        (tmp_path / "play.yml").write_text(playbook)
        watch = {"group": GROUP, "version": VERSION, "kind": new_crd.kind, "playbook": "play.yml"}
        shared = {"watchDependentResources": False, "vars": {"log": str(tmp_path / "noted")}}
        (tmp_path / "watches.yaml").write_text(json.dumps([{**watch, **shared, **fields}]))
        return start(*flags)

    return operate_


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of the tests' own, which they may stop, cut off and kill."""
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def plane_crd(plane: ControlPlane) -> Crd:
    """A CRD on that control plane; it goes with it."""
    crd = Crd(plane.api)
    crd.install()
    return crd


@pytest.fixture
def trial(plane: ControlPlane, plane_crd: Crd, tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    """Begin a trial on that control plane; see ``Trial`` for the arguments."""
    begun: list[Trial] = []

    def begin(**arguments: Any) -> Trial:
        begun.append(Trial(plane, plane_crd, tmp_path / f"trial{len(begun)}", **arguments))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()
