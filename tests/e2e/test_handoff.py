"""The two hand-offs, Local and Annotation, against each other, and the order held by hand."""

from __future__ import annotations

import datetime
import time

from support import Cluster, Object, OrderWatch, condition, make_task, shell, step_states

HANDOFFS = ("Local", "Annotation")
HOLD = "api.practice.com/hold-order"
# What differs from one run of the same Task to the next.
OF_ONE_RUN = {
    "completionTime",
    "duration",
    "finishedAt",
    "lastTransitionTime",
    "podName",
    "podUID",
    "specHash",
    "startAt",
    "startTime",
    "startedAt",
}


def lasting(value: object) -> object:
    """Return a status without what belongs to one run only."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in OF_ONE_RUN}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def told(cluster: Cluster, name: str) -> list[tuple[str, str, str]]:
    """Return the Events on a Task, with their words where those are the same in each run."""
    events = [(e["type"], e["reason"], e["message"]) for e in cluster.events(name)]
    return sorted((kind, why, words if why.startswith("Step") else "") for kind, why, words in events)


def test_both_give_the_same_statuses_and_events(cluster):
    # Some of the steps end before anybody can see them run.
    last = [{"name": "mid", "script": "echo 1 > $(results.x.path)"}, shell("alpha", "sleep 2")]
    kinds = {
        "succeeds": [shell("zeta", "sleep 2"), *last],
        "fails": [shell("zeta", "true"), shell("mid", "sleep 2; exit 3"), shell("alpha", "true")],
        "continues": [{"name": "zeta", "script": "kill -9 $$", "onError": "continue"}, *last],
    }
    for kind, steps in kinds.items():
        for handoff in HANDOFFS:
            cluster.apply(make_task(f"{kind}-{handoff.lower()}", *steps, handoff=handoff))
    for kind in kinds:
        local, annotation = (f"{kind}-{handoff.lower()}" for handoff in HANDOFFS)
        statuses = [lasting(cluster.settled(name)["status"]) for name in (local, annotation)]
        assert statuses[0] == statuses[1]
        for name in (local, annotation):
            cluster.event(name, "Failed" if kind == "fails" else "Completed")
        assert told(cluster, local) == told(cluster, annotation)


def held(cluster: Cluster, order: str, status: str) -> Object:
    """Wait until the Task is held at this order, and return it."""

    def is_held() -> Object | None:
        task = cluster.task("hold")
        at = (task.get("status", {}).get("order"), task.get("status", {}).get("status"))
        return task if at == (order, status) and condition(task)["reason"] == "Held" else None

    found: Object = cluster.wait(f"the order to be held at {order}", is_held)
    return found


def test_an_annotation_on_the_task_holds_its_order(cluster):
    watch = OrderWatch(cluster.namespace, "hold")
    manifest = make_task("hold", shell("a", "echo a"), shell("b", "echo b"), shell("c", "echo c"), handoff="Annotation")
    manifest["metadata"]["annotations"] = {HOLD: "0"}
    cluster.apply(manifest)
    task = held(cluster, "0", "Pending")
    assert step_states(task) == ["Waiting"] * 3
    assert HOLD in condition(task)["message"]
    assert HOLD in cluster.event("hold", "Held")
    pod = task["status"]["podName"]
    time.sleep(3)  # what is not to happen would have happened by then
    assert cluster.logs(pod, "a") == ""
    assert condition(cluster.task("hold"))["reason"] == "Held"

    cluster.run("annotate", "task", "hold", f"{HOLD}=1", "--overwrite")
    task = held(cluster, "1", "Running")
    assert step_states(task) == ["Succeeded", "Waiting", "Waiting"]
    time.sleep(3)
    assert [cluster.logs(pod, step) for step in "abc"] == ["a\n", "", ""]

    released = datetime.datetime.now(datetime.UTC)
    cluster.run("annotate", "task", "hold", f"{HOLD}-")
    task = cluster.settled("hold")
    assert (task["status"]["status"], task["status"]["podName"]) == ("Successful", pod)
    assert [cluster.logs(pod, step) for step in "abc"] == ["a\n", "b\n", "c\n"]
    assert datetime.datetime.fromisoformat(task["status"]["steps"][1]["startedAt"]) >= released
    assert watch.stop() == ["0", "1", "2", "3"]
