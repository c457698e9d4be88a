"""An operator written for the Operator SDK runs unchanged, with the rights of its own ServiceAccount and no others.

Its folder is examples/foreign-operator. The runtime is started there as on a developer's machine. The names in the
example's manifests are the same for all, so that one worker at a time may run this file (--dist=loadfile).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import ROOT, Cluster, Object

OPERATOR = ROOT / "examples" / "foreign-operator"
CONFIG = ("manager/namespace.yaml", "crd/bases", "rbac")
SYSTEM = Cluster("webpage-system")
FINALIZER = "site.example.com/catalogue"
PASSWORD = "s3same-0pen"


class Runtime:
    """taskflow-controller in the operator's folder."""

    def __init__(self, scratch: Path) -> None:
        self.files = scratch
        self.log = scratch / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        command = [sys.executable, "-B", "-m", "taskflow_controller", "run"]
        command += ["--kubeconfig", str(service_account_kubeconfig(scratch)), "--runner-dir", str(scratch / "runs")]
        command += ["--health-probe-bind-address", f"127.0.0.1:{self._port}"]
        # The settings of this checkout are none of the operator's.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "KUBECONFIG"))}
        environment = {**inherited, "PYTHONPATH": str(ROOT), "CATALOGUE_NAMESPACE": SYSTEM.namespace}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=OPERATOR, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def ready(self) -> bool:
        """Say whether it watches; fail if it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def runs(self, name: str) -> list[Object]:
        """Return the log lines of a Webpage's runs that began."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["msg"] == "run started" and line["resource"].endswith(f"/{name}")]

    def stop(self) -> None:
        """End it in peace."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0


def service_account_kubeconfig(folder: Path) -> Path:
    """Return a kubeconfig that has the rights of the example's ServiceAccount."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    path = f"/api/v1/namespaces/{SYSTEM.namespace}/serviceaccounts/webpage-operator/token"
    answer = json.loads(SYSTEM.run("create", "--raw", path, "-f", "-", stdin=json.dumps(request)).stdout)
    config = json.loads(SYSTEM.run("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout)
    config["users"][0]["user"] = {"token": answer["status"]["token"]}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The operator's CRD and RBAC, and the runtime; all of it goes again."""
    files = [word for part in CONFIG for word in ("-f", str(OPERATOR / "config" / part))]
    SYSTEM.run("apply", *files)
    SYSTEM.wait(
        "the operator's ServiceAccount",
        lambda: SYSTEM.run("get", "serviceaccount", "webpage-operator", check=False).returncode == 0,
    )
    runtime = Runtime(tmp_path_factory.mktemp("foreign"))
    try:
        SYSTEM.wait("the runtime to be ready", runtime.ready)
        yield runtime
    finally:
        print(runtime.log.read_text())  # pytest shows it where a test failed
        runtime.stop()
        SYSTEM.run("delete", *files, "--wait=false")


@pytest.fixture
def page(runtime: Runtime, cluster: Cluster) -> Iterator[Object]:
    """The example's Webpage, with its own Secret, in a namespace of the test's own; deleted at the end."""
    secret, page = yaml.safe_load_all((OPERATOR / "config/samples/site_v1alpha1_webpage.yaml").read_text())
    secret["stringData"]["password"] = PASSWORD
    cluster.apply(secret)
    cluster.apply(page)
    yield page
    cluster.run("delete", "webpages", "--all", "--timeout=120s")


def conditions(cluster: Cluster, name: str) -> dict[str, Object]:
    """Return the conditions of a Webpage by their types."""
    return {c["type"]: c for c in cluster.get("webpage", name).get("status", {}).get("conditions", [])}


def settled(cluster: Cluster, name: str) -> dict[str, Object]:
    """Wait for a run of the Webpage that succeeded, and return its conditions."""

    def successful() -> dict[str, Object] | None:
        found = conditions(cluster, name)
        return found if found.get("Successful", {}).get("status") == "True" else None

    found: dict[str, Object] = cluster.wait(f"Webpage {name} to be Successful", successful)
    return found


def text_of(cluster: Cluster, name: str) -> str:
    """Return the text that is served, "" while there is none."""
    found = cluster.run("get", "configmap", f"{name}-text", "-o", "json", check=False)
    return "" if found.returncode else str(json.loads(found.stdout)["data"]["index.html"])


def visited(cluster: Cluster, name: str, password: str) -> str:
    """Return what a visitor sees who gives this password."""
    url = f"http://visitor:{password}@127.0.0.1:8080/"
    return cluster.run("exec", f"deployment/{name}", "--", "wget", "-q", "-O", "-", url, check=False).stdout


def entries(cluster: Cluster) -> list[str]:
    """Return the names in the catalogue of the Webpages in the test's namespace."""
    listed = [c["metadata"]["name"] for c in SYSTEM.list("configmaps", "site.example.com/entry=webpage")]
    return [name for name in listed if name.startswith(f"{cluster.namespace}.")]


def test_a_webpage_is_made_and_its_conditions_are_written(cluster, page):
    name = page["metadata"]["name"]
    found = settled(cluster, name)
    assert (found["Running"]["status"], found["Running"]["reason"]) == ("True", "Successful")
    assert found["Running"]["message"] == "Awaiting next reconciliation"
    assert found["Running"]["ansibleResult"]["failures"] == 0
    assert found["Failure"]["status"] == "False"

    webpage = cluster.get("webpage", name)
    for kind, dependent in (("deployment", name), ("configmap", f"{name}-text"), ("secret", f"{name}-server")):
        (reference,) = cluster.get(kind, dependent)["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["uid"]) == ("Webpage", webpage["metadata"]["uid"]), dependent
    assert entries(cluster) == [f"{cluster.namespace}.{name}"]

    cluster.run("rollout", "status", f"deployment/{name}", "--timeout=180s")
    assert visited(cluster, name, PASSWORD) == "Hello"
    assert visited(cluster, name, "another") == ""


def test_a_changed_spec_is_followed(cluster, page):
    name = page["metadata"]["name"]
    settled(cluster, name)
    cluster.patch("webpage", name, {"spec": {"pageText": "Good night", "replicas": 2}})
    cluster.wait("the new text", lambda: text_of(cluster, name) == "Good night")
    cluster.wait("two servers", lambda: cluster.get("deployment", name)["spec"]["replicas"] == 2)
    settled(cluster, name)
    cluster.run("rollout", "status", f"deployment/{name}", "--timeout=180s")
    cluster.wait("the new text to be served", lambda: visited(cluster, name, PASSWORD) == "Good night")


def test_what_somebody_else_changes_is_put_right(cluster, page):
    name = page["metadata"]["name"]
    settled(cluster, name)
    before = cluster.get("configmap", f"{name}-text")["metadata"]["uid"]
    cluster.run("delete", "configmap", f"{name}-text")
    cluster.wait("the ConfigMap to come back", lambda: text_of(cluster, name) == "Hello")
    assert cluster.get("configmap", f"{name}-text")["metadata"]["uid"] != before

    cluster.run("scale", f"deployment/{name}", "--replicas=3")
    cluster.wait("its one server", lambda: cluster.get("deployment", name)["spec"]["replicas"] == 1)


def test_a_webpage_without_the_label_is_left_alone(cluster, runtime, page):
    settled(cluster, page["metadata"]["name"])
    other = {**page, "metadata": {"name": "other"}}
    cluster.apply(other)
    cluster.apply({**page, "metadata": {**page["metadata"], "name": "after"}})
    settled(cluster, "after")  # made later, and done
    webpage = cluster.get("webpage", "other")
    assert "status" not in webpage
    assert "finalizers" not in webpage["metadata"]
    assert not runtime.runs("other")
    assert text_of(cluster, "other") == ""

    cluster.run("label", "webpage", "other", "site.example.com/shard=main")
    settled(cluster, "other")
    assert text_of(cluster, "other") == "Hello"


def test_a_failure_says_what_is_missing_and_ends_when_it_is_there(cluster, page):
    cluster.apply(
        {**page, "metadata": {**page["metadata"], "name": "early"}, "spec": {**page["spec"], "passwordSecret": "late"}}
    )

    def failed() -> Object | None:
        found = conditions(cluster, "early").get("Failure", {})
        return found if found.get("status") == "True" else None

    failure = cluster.wait("the failure", failed)
    assert failure["reason"] == "Failed"
    assert f"Secret {cluster.namespace}/late" in failure["message"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"password": PASSWORD}}
    cluster.apply(secret)
    found = settled(cluster, "early")
    assert found["Failure"]["status"] == "False"


def test_a_secret_stays_one(cluster, runtime, page):
    name = page["metadata"]["name"]
    settled(cluster, name)
    server = cluster.get("secret", f"{name}-server")
    assert base64.b64decode(server["data"]["httpd.conf"]).decode() == f"/:visitor:{PASSWORD}\n"
    secrets = {PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), server["data"]["httpd.conf"]}
    told = [runtime.log.read_bytes(), *(f.read_bytes() for f in runtime.files.rglob("*") if f.is_file())]
    told.append(cluster.run("get", "webpages,events,configmaps,deployments", "-o", "json").stdout.encode())
    assert runtime.runs(name)
    for text in told:
        assert not [secret for secret in secrets if secret.encode() in text]


def test_the_finalizer_cleans_up_before_the_webpage_goes(cluster, page):
    name = page["metadata"]["name"]
    settled(cluster, name)
    assert FINALIZER in cluster.get("webpage", name)["metadata"]["finalizers"]
    assert entries(cluster)
    cluster.run("delete", "webpage", name, "--timeout=120s")
    assert not entries(cluster)
    cluster.wait("the Deployment to go along", lambda: not cluster.list("deployments"))
