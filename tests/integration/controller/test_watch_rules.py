"""Rules of the watches file that only a real API server can show."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

Start = Callable[..., Controller]
SETTLE = 3.0  # seconds in which a run that should not come would have started


def change_watch(project: Path, **fields: Any) -> None:
    """Change fields of the watches file's entry before a controller is started."""
    file = project / "watches.yaml"
    (watch,) = json.loads(file.read_text())
    file.write_text(json.dumps([{**watch, **fields}]))


def test_selector(start: Start, crd: Crd, namespace: str, tmp_path: Path) -> None:
    change_watch(tmp_path, selector={"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]})
    controller = start().ready()
    crd.create(namespace, "other")
    crd.create(namespace, "w")
    crd.patch_metadata(namespace, "w", labels={"tier": "a"})
    controller.ended(1)
    crd.patch_metadata(namespace, "w", labels={"tier": "b"})
    directory = controller.runner_dir / GROUP / VERSION / crd.kind / namespace / "w"
    assert directory.exists()

    crd.patch_metadata(namespace, "w", labels={"tier": "c"})
    until(lambda: not directory.exists(), what="removal of the directory")
    crd.patch(namespace, "w", size=2)
    time.sleep(SETTLE)
    assert len(controller.times("w")) == 2, "a run of a resource that is not selected"

    crd.patch_metadata(namespace, "w", labels={"tier": "a"})
    controller.ended(2)
    crd.delete(namespace, "w")
    until(lambda: not directory.exists(), what="removal of the directory")
    assert not controller.times("other")
    assert [line["reason"] for line in controller.logged("run started")] == [f"{crd.kind} seen for the first time"] * 2


def test_cluster_scoped_primary_with_namespaces_named(
    start: Start, new_crd: Crd, namespace: str, tmp_path: Path, api: client.ApiClient
) -> None:
    new_crd.install(scope="Cluster")
    controller = start(namespaces=f"{namespace},default").ready()
    objects = client.CustomObjectsApi(api)
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": new_crd.kind, "metadata": {"name": "w"}, "spec": {}}
    objects.create_cluster_custom_object(GROUP, VERSION, new_crd.plural, body)
    controller.ended(1)
    kept = json.loads((controller.noted / "w.json").read_text())
    assert kept["meta"] == {"name": "w", "namespace": ""}
    directory = controller.runner_dir / GROUP / VERSION / new_crd.kind / "_" / "w"
    assert (directory / "inventory/hosts").exists()
    objects.delete_cluster_custom_object(GROUP, VERSION, new_crd.plural, "w")
    until(lambda: not directory.exists(), what="removal of the directory")
    time.sleep(SETTLE)
    assert [line["resource"] for line in controller.logged("run started")] == [f"{new_crd.kind} w"]


def test_annotations_override(start: Start, crd: Crd, namespace: str) -> None:
    controller = start().ready()
    crd.create(namespace, "w")
    controller.ended(1)
    prefix = "ansible.sdk.operatorframework.io/"
    annotations = {"reconcile-period": "2s", "max-runner-artifacts": "2", "verbosity": "loud"}
    crd.patch_metadata(namespace, "w", annotations={f"{prefix}{name}": text for name, text in annotations.items()})
    time.sleep(SETTLE)
    assert len(controller.times("w")) == 2, "annotations alone start no run"
    crd.patch(namespace, "w", size=2)
    controller.ended(5)
    artifacts = controller.runner_dir / GROUP / VERSION / crd.kind / namespace / "w" / "artifacts"
    assert len(list(artifacts.iterdir())) <= 2
    (warning,) = controller.logged(f"annotation {prefix}verbosity is ignored: 'loud' is not a whole number")
    assert warning["resource"] == f"{crd.kind} {namespace}/w"


def test_directories_of_what_went_meanwhile_are_removed_at_the_start(start: Start, crd: Crd, namespace: str) -> None:
    first = start().ready()
    for name in ("gone", "there"):
        crd.create(namespace, name)
    for name in ("gone", "there"):
        first.ended(1, name)
    folder = first.runner_dir / GROUP / VERSION / crd.kind / namespace
    elsewhere = folder.with_name("not-watched") / "x"
    elsewhere.mkdir(parents=True)
    assert first.stop() == 0
    crd.delete(namespace, "gone")
    assert {path.name for path in folder.iterdir()} == {"gone", "there"}

    second = start("--runner-dir", str(first.runner_dir)).ready()
    until(lambda: not (folder / "gone").exists(), what="removal of the directory")
    second.ended(2, "there")
    assert (folder / "there").exists() and elsewhere.exists()


def test_a_core_kind_without_generation_and_status(
    start: Start, namespace: str, tmp_path: Path, api: client.ApiClient
) -> None:
    core = client.CoreV1Api(api)
    (watch,) = json.loads((tmp_path / "watches.yaml").read_text())
    variables = {**watch["vars"], "object_var": "__configmap"}
    change_watch(
        tmp_path,
        group="",
        version="v1",
        kind="ConfigMap",
        vars=variables,
        watchDependents=[],
        manageStatus=True,
        selector={"matchLabels": {"try": "yes"}},
    )
    controller = start().ready()
    core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "w", "labels": {"try": "yes"}}, "data": {"a": "1"}}
    )
    controller.ended(1)
    time.sleep(SETTLE)
    core.patch_namespaced_config_map("w", namespace, {"metadata": {"finalizers": ["example.com/other"]}})
    time.sleep(SETTLE)
    assert len(controller.times()) == 2, "a run for what the controller wrote, or for a finalizer"
    kept = json.loads((controller.noted / "w.json").read_text())
    assert kept["object"]["data"] == {"a": "1"} and kept["spec"] == {}
    core.patch_namespaced_config_map("w", namespace, {"data": {"a": "2"}})
    controller.ended(2)
    core.patch_namespaced_config_map("w", namespace, {"metadata": {"finalizers": None}})
    core.delete_namespaced_config_map("w", namespace)
    directory = controller.runner_dir / "_" / "v1" / "ConfigMap" / namespace / "w"
    until(lambda: not directory.exists(), what="removal of the directory")
    reasons = [line["reason"] for line in controller.logged("run started")]
    assert reasons == ["ConfigMap seen for the first time", "ConfigMap changed"]
