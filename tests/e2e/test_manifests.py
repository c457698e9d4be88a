"""The manifests for kubectl: they are what the role installs, and an API server takes them."""

from __future__ import annotations

import pytest
import yaml
from support import Object
from support.installation import OPERATOR, install_variables, installed_objects, write_manifests


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The manifests of the operator as it is installed now."""
    folder = tmp_path_factory.mktemp("manifests")
    write_manifests(folder, install_variables())
    return folder


def objects(text: str) -> list[Object]:
    """Return the objects of a manifest."""
    return list(yaml.safe_load_all(text))


def names(found: list[Object]) -> set[tuple[str, str, str]]:
    """Return which objects there are."""
    return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in found}


def kustomized(folder, **fields) -> list[Object]:
    """Return what a kustomization of the base comes to, as one in whose own repository the base lies."""
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["../kustomize"], **fields}))
    return objects(OPERATOR.run("kustomize", str(own)).stdout)


def test_the_api_server_takes_the_manifest(written):
    said = OPERATOR.run("apply", "--dry-run=server", "-f", str(written / "install.yaml")).stdout.splitlines()
    assert len(said) == len(objects((written / "install.yaml").read_text()))


def test_the_manifest_is_what_the_role_has_installed(written):
    diff = OPERATOR.run("diff", "-f", str(written / "install.yaml"), check=False)
    assert (diff.returncode, diff.stdout) == (0, "")


def test_the_role_has_installed_nothing_that_is_not_in_the_manifest(written):
    found = OPERATOR.run("get", "-f", str(written / "install.yaml"), "-o", "name").stdout.split()
    assert set(found) == installed_objects()


def test_the_kustomize_base_is_the_same(written):
    base = objects(OPERATOR.run("kustomize", str(written / "kustomize")).stdout)
    whole = objects((written / "install.yaml").read_text())

    def in_order(found: list[Object]) -> list[Object]:
        return sorted(found, key=lambda o: (o["kind"], o["metadata"]["name"]))

    assert in_order(base) == in_order(whole)


def test_an_overlay_sets_image_and_namespace(written):
    image = install_variables()["taskflow_operator_image"].rpartition(":")[0]
    found = kustomized(
        written,
        namespace="elsewhere",
        images=[{"name": image, "newName": "registry.example.com/taskflow/operator", "newTag": "v9"}],
    )
    deployment = next(o for o in found if o["kind"] == "Deployment")
    assert [c["image"] for c in deployment["spec"]["template"]["spec"]["containers"]] == [
        "registry.example.com/taskflow/operator:v9"
    ]
    assert {namespace for _, namespace, _ in names(found)} == {"", "elsewhere"}
    assert [name for kind, _, name in names(found) if kind == "Namespace"] == ["elsewhere"]
    subjects = [s for o in found if o["kind"].endswith("RoleBinding") for s in o["subjects"]]
    assert [s["namespace"] for s in subjects] == ["elsewhere", "elsewhere"]


def test_without_metrics_there_is_no_service(tmp_path):
    write_manifests(tmp_path, {"taskflow_operator_metrics": False})
    text = (tmp_path / "install.yaml").read_text()
    assert "Service" not in {o["kind"] for o in objects(text)}
    assert "--metrics-bind-address=0" in text
    assert names(objects(OPERATOR.run("kustomize", str(tmp_path / "kustomize")).stdout)) == names(objects(text))
