"""The controller's behaviour against a real API server."""

import json
import signal
import time
from collections.abc import Callable

from kubernetes import client
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

Start = Callable[..., Controller]
SETTLE = 3.0  # seconds in which a run that should not come would have started


def config_map(owner: dict, **data: str) -> dict:
    reference = {key: owner["metadata"][key] for key in ("name", "uid")}
    reference.update(apiVersion=owner["apiVersion"], kind=owner["kind"], controller=True)
    return {"metadata": {"name": "owned", "ownerReferences": [reference]}, "data": data}


def test_what_starts_a_run_and_what_does_not(start: Start, crd: Crd, namespace: str, api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    controller = start().ready()
    assert controller.probe("/healthz") == 200
    widget = crd.create(namespace, stepCount=2, inner={"aKey": "x"})
    controller.ended(1)
    kept = json.loads((controller.noted / "w.json").read_text())
    assert kept["meta"] == {"name": "w", "namespace": namespace}
    assert kept["step_count"] == 2
    assert kept["spec"] == {"stepCount": 2, "inner": {"aKey": "x"}}
    assert kept["object"]["metadata"]["uid"] == widget["metadata"]["uid"]

    core.create_namespaced_config_map(namespace, config_map(widget, projected="1", other="1"))
    controller.ended(2)
    crd.patch_status(namespace, seen=True)
    core.patch_namespaced_config_map("owned", namespace, {"data": {"other": "2"}})
    time.sleep(SETTLE)
    assert len(controller.times()) == 4, "status, an unprojected field: no run"

    crd.patch(namespace, stepCount=3)
    controller.ended(3)
    core.patch_namespaced_config_map("owned", namespace, {"data": {"projected": "2"}})
    controller.ended(4)
    core.delete_namespaced_config_map("owned", namespace)
    controller.ended(5)

    directory = controller.runner_dir / GROUP / VERSION / crd.kind / namespace / "w"
    assert (directory / "inventory/hosts").exists()
    crd.delete(namespace)
    until(lambda: not directory.exists(), what="removal of the directory")
    reasons = [line["reason"] for line in controller.logged("run started")]
    assert reasons == [
        f"{crd.kind} seen for the first time",
        "ConfigMap owned seen for the first time",
        f"{crd.kind} generation 1 -> 2",
        "ConfigMap owned data.projected changed",
        "ConfigMap owned deleted",
    ]
    end = controller.logged("run succeeded")[0]
    assert end["resource"] == f"{crd.kind} {namespace}/w"
    assert (end["rc"], end["failed"]) == (0, 0) and end["ok"] == 5 and end["duration"] > 0
    assert controller.stop() == 0


def test_runs_of_a_key_never_overlap_and_changes_coalesce(start: Start, crd: Crd, namespace: str) -> None:
    controller = start("--max-concurrent-reconciles", "4").ready()
    crd.create(namespace, sleepSeconds=2, number=0)
    until(controller.times)
    for number in range(1, 6):
        crd.patch(namespace, number=number)
        time.sleep(0.2)
    controller.ended(2)
    time.sleep(SETTLE)
    times = controller.times()
    assert [what for what, _ in times] == ["begin", "end"] * 2
    assert times[2][1] >= times[1][1]
    assert json.loads((controller.noted / "w.json").read_text())["spec"]["number"] == 5


def test_failure_backs_off_then_recovers(start: Start, crd: Crd, namespace: str) -> None:
    controller = start().ready()
    crd.create(namespace, needsRepair=True)
    until(lambda: len(controller.logged("run failed")) >= 3, what="three failures")
    failed = controller.logged("run failed")[0]
    assert [failure["task"] for failure in failed["failures"]] == ["Fail until repaired"]
    (controller.noted / "repaired").touch()
    controller.ended(1)
    begun = len(controller.logged("run started"))
    assert controller.logged("run started")[2]["reason"] == "retry 2 after failure"
    time.sleep(SETTLE)
    assert len(controller.logged("run started")) == begun, "no retry after success"


def test_crd_installed_after_the_start(start: Start, new_crd: Crd, namespace: str) -> None:
    controller = start()
    until(lambda: controller.probe("/readyz") == 503, what="an answer of readyz")
    until(lambda: controller.logged(f"cannot watch {new_crd.kind}"), what="a warning")
    new_crd.install()
    controller.ready()
    new_crd.create(namespace)
    controller.ended(1)
    assert len(controller.logged(f"cannot watch {new_crd.kind}")) == 1


def test_crd_removed_and_installed_again(start: Start, crd: Crd, namespace: str) -> None:
    controller = start().ready()
    crd.create(namespace)
    controller.ended(1)
    crd.remove()
    until(lambda: controller.logged("resource is gone"), what="the deletion")
    until(lambda: controller.logged("cannot watch"), timeout=60, what="a warning")
    crd.install()
    crd.create(namespace)
    controller.ended(2)


def test_sigterm_lets_a_play_finish(start: Start, crd: Crd, namespace: str) -> None:
    controller = start().ready()
    crd.create(namespace, sleepSeconds=3)
    until(controller.times)
    assert controller.stop() == 0
    assert [what for what, _ in controller.times()] == ["begin", "end"]
    assert controller.logged("run succeeded") and not controller.logged("cancelling")


def test_sigterm_cancels_a_play_that_takes_too_long(start: Start, crd: Crd, namespace: str) -> None:
    controller = start("--graceful-shutdown-timeout", "1s").ready()
    crd.create(namespace, sleepSeconds=60)
    until(controller.times)
    assert controller.stop() == 0
    assert controller.logged("run cancelled")
    assert not list((controller.runner_dir / GROUP).rglob("run-vars.json"))


def test_second_signal_ends_at_once(start: Start, crd: Crd, namespace: str) -> None:
    controller = start().ready()
    crd.create(namespace, sleepSeconds=60)
    until(controller.times)
    controller.process.send_signal(signal.SIGINT)
    until(lambda: controller.logged("stopping"), what="the graceful end's beginning")
    assert controller.stop() == 128 + signal.SIGTERM
