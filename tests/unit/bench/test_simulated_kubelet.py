"""The simulated kubelet: its reports are what the collection understands, and each Pod gets all of them, in order."""

from __future__ import annotations

import datetime
import itertools
import threading
import time

from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import orders_to_come
from pod_life import Pace, PodLife
from raw_api import NOT_FOUND, RefusedError
from simulated_kubelet import SimulatedKubelet

STEPS = ("zeta", "alpha")  # not in the order of their names
TASK = {"metadata": {"name": "t"}, "spec": {"steps": [{"name": name} for name in STEPS]}}
START = datetime.datetime(2024, 1, 6, 22, 19, 24, 5000, tzinfo=datetime.UTC)
NOW = Pace(start=0.0, step=0.0)


def make_pod(name="p", **metadata):
    return {
        "metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "7", **metadata},
        "spec": {"initContainers": [{"name": "init"}], "containers": [{"name": name} for name in STEPS]},
    }


def reports():
    """Return all that is reported of a Pod, one report each second."""
    life = PodLife(make_pod(), NOW)
    times = (START + datetime.timedelta(seconds=n) for n in itertools.count())
    found = []
    while not life.is_over:
        found.append(life.report(next(times)))
    return found


def test_a_pod_starts_its_steps_end_one_by_one_and_it_succeeds():
    assert [report["phase"] for report in reports()] == ["Pending", "Running", "Running", "Succeeded"]
    states = [[s["state"] for s in ObservedPod(TASK, {**make_pod(), "status": report}).steps] for report in reports()]
    assert states == [
        ["Waiting", "Waiting"],
        ["Running", "Waiting"],
        ["Succeeded", "Running"],
        ["Succeeded", "Succeeded"],
    ]
    pods = [{**make_pod(annotations={"taskorder": "0"}), "status": report} for report in reports()]
    assert [ObservedPod(TASK, pod).is_over for pod in pods] == [False, False, False, True]
    assert [orders_to_come(ObservedPod(TASK, pod)) for pod in pods] == [[], [1], [1, 2], [1, 2]]


def test_containers_come_in_the_order_of_their_names_as_from_a_kubelet():
    for report in reports():
        assert [status["name"] for status in report["containerStatuses"]] == ["alpha", "zeta"]
        assert [status["name"] for status in report["initContainerStatuses"]] == ["init"]


def test_the_agents_say_when_their_commands_ran():
    zeta, alpha = ObservedPod(TASK, {**make_pod(), "status": reports()[-1]}).steps
    assert (zeta["startedAt"], zeta["finishedAt"]) == ("2024-01-06T22:19:25.005Z", "2024-01-06T22:19:26.005Z")
    assert (alpha["startedAt"], alpha["finishedAt"]) == ("2024-01-06T22:19:26.005Z", "2024-01-06T22:19:27.005Z")


def test_its_pace():
    life = PodLife(make_pod(), Pace(start=1, step=2))
    pauses = []
    while not life.is_over:
        life.report(START)
        pauses.append(life.pause)
    assert pauses == [1, 2, 2, 2]


class Api:
    """Shows some events, and then nothing more; keeps what is asked of it."""

    def __init__(self, *events):
        self.events, self.calls = list(events), []
        self.refuse = ""

    def watch(self, path, since=""):
        assert path == "/api/v1/namespaces/n/pods"
        yield from self.events
        threading.Event().wait()

    def create(self, path, body):
        self._called("bind", path, body["target"]["name"], body["metadata"]["name"])

    def merge(self, path, patch):
        self._called("report", path, patch["status"]["phase"])

    def delete(self, path):
        self._called("delete", path)

    def _called(self, verb, path, *what):
        if self.refuse and self.refuse in path:
            raise RefusedError(NOT_FOUND, "gone")
        self.calls.append((verb, path.removeprefix("/api/v1/namespaces/n/pods/"), *what))

    def wait_for(self, count):
        deadline = time.monotonic() + 60
        while len(self.calls) < count:
            assert time.monotonic() < deadline, self.calls
            time.sleep(0.01)


def start(api):
    threading.Thread(target=SimulatedKubelet(api, "n", NOW).run, daemon=True).start()


def added(pod, kind="ADDED"):
    return {"type": kind, "object": pod}


def lived(name):
    phases = ("Pending", "Running", "Running", "Succeeded")
    return [("bind", f"{name}/binding", "simulated", name), *(("report", f"{name}/status", phase) for phase in phases)]


def test_each_pod_is_bound_and_gets_its_reports_once():
    api = Api(added(make_pod("a")), added(make_pod("a"), "MODIFIED"), added(make_pod("b")))
    start(api)
    api.wait_for(10)
    for name in ("a", "b"):
        assert [call for call in api.calls if call[1].startswith(f"{name}/")] == lived(name)


def test_a_pod_of_another_node_is_left_alone_and_one_that_is_gone_hinders_nobody():
    other = make_pod("other")
    other["spec"]["nodeName"] = "real"
    api = Api(added(other), added(make_pod("gone")), added(make_pod("last")))
    api.refuse = "/gone/"
    start(api)
    api.wait_for(5)
    assert api.calls == lived("last")


def test_a_pod_that_is_being_deleted_is_removed():
    api = Api(added(make_pod("a", deletionTimestamp="2024-01-06T22:19:24Z")))
    start(api)
    api.wait_for(1)
    assert api.calls == [("delete", "a?gracePeriodSeconds=0")]
