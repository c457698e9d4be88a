"""A cluster in a few hundred lines: API server, kubelet and agents, as far as a Task can tell them apart.

What really happens in a Pod and what the API server knows of it are two things here: the kubelet posts the Pod's state
now and then, always as a whole. Whoever uses a World decides what happens next.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from ansible_collections.taskflow.operator.plugins.module_utils._durations import parse_time
from ansible_collections.taskflow.operator.plugins.module_utils._errors import ALREADY_EXISTS, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import TASK
from ansible_collections.taskflow.operator.plugins.module_utils._kube.owner import owner_reference
from ansible_collections.taskflow.operator.plugins.module_utils._pod.adoption import is_astray
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import spec_hash, task_labels
from ansible_collections.taskflow.operator.plugins.module_utils._task import reconcile as _reconcile
from ansible_collections.taskflow.operator.plugins.module_utils._task.batch import Found, Target, serve_all

from support.tasks.factory import condition
from support.tasks.looks import make_reconciler

Object = dict[str, Any]
Action = Callable[[], None]

FINAL = ("Successful", "Failure", "Cancelled")
START = datetime.datetime(2024, 1, 6, 22, 19, 24, tzinfo=datetime.UTC)
# Seconds that a Pod has to end after it was deleted.
GRACE = 30
# How a step's command ends.
OK, FAILS, KILLED = "ok", "fails", "killed"
# What a sidecar does: it runs, it comes to nothing, it dies beside the first step, or whenever it likes.
RUNS, CRASHES, DIES, FRAIL = "runs", "crashes", "dies", "frail"


class OperatorKilled(Exception):
    """The operator is killed in the middle of its work."""


class Agent:
    """One step's container and the agent in it."""

    def __init__(self, name: str, on_error: str) -> None:
        self.name, self.on_error = name, on_error
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.runs_command = False
        self.done: str | None = None
        self.has_started = False
        self.passed = False

    @property
    def is_up(self) -> bool:
        return "running" in self.state

    @property
    def has_ended(self) -> bool:
        return "terminated" in self.state

    def start(self) -> None:
        self.state, self.has_started = {"running": {"startedAt": "2024-01-06T22:19:26Z"}}, True

    def end(self, state: str, exit_code: int, now: str, **report: Any) -> None:
        """End with a report and a done file, as an agent does that nobody killed."""
        continued = state == "Failed" and self.on_error == "continue" and not report.get("told")
        fields: Object = {"state": state, "exitCode": exit_code, **report, **({"continued": 1} if continued else {})}
        if self.runs_command:
            fields.update(startedAt=now.replace("Z", ".000Z"), finishedAt=now.replace("Z", ".000Z"))
        self.passed = state == "Succeeded" or continued
        self.done = "passes" if self.passed else "stops"
        code = 0 if self.passed else exit_code
        self._terminate(code, {"message": json.dumps(fields), "reason": "Error" if code else "Completed"})

    def tell_to_end(self, now: str) -> None:
        """End since the kubelet says so: with the Pod, or for a probe that fails."""
        self.end("Failed", 143, now, told=15, reason="Signal" if self.runs_command else "EndedBeforeItsTurn")

    def kill(self, reason: str = "Error") -> None:
        """End without a word."""
        self._terminate(137, {"reason": reason})

    def _terminate(self, code: int, fields: Object) -> None:
        self.state, self.runs_command = {"terminated": {"exitCode": code, **fields}}, False


class SimulatedPod:
    """One Pod, its kubelet and its agents. ``api`` is what the API server has of it."""

    def __init__(self, api: Object, spec: Object, outcomes: list[str], world: World) -> None:
        self.api, self.outcomes, self._world = api, outcomes, world
        self.agents = [Agent(s["name"], s.get("onError", "stopAndFail")) for s in spec["steps"]]
        self.by_order = spec.get("handoff") == "Annotation"
        self.order_file = api["metadata"]["annotations"]["taskorder"]
        # What the operator has written last, and whether somebody else has written since.
        self.order, self.is_by_hand = 0, False
        self.sidecars = [s["name"] for s in spec.get("sidecars") or []]
        self.is_native = any(c.get("restartPolicy") == "Always" for c in api["spec"]["initContainers"])
        self.sidecar, self.sidecar_died, self.is_refused = world.sidecar(api), "", False
        self.has_begun = False
        self.probed = any(s.get("readinessProbe") for s in spec.get("sidecars") or [])
        self.is_ready, self.is_lost, self.is_spent = not self.probed, False, False
        self.spec_hash = api["metadata"]["annotations"]["api.practice.com/spec-hash"]
        self.generation = int(api["metadata"]["annotations"]["api.practice.com/generation"])

    @property
    def name(self) -> str:
        return self.api["metadata"]["name"]

    @property
    def uid(self) -> str:
        return self.api["metadata"]["uid"]

    @property
    def is_tracked(self) -> bool:
        """Whether a finalizer keeps it."""
        return bool(self.api["metadata"].get("finalizers"))

    @property
    def is_alive(self) -> bool:
        """Whether anything runs in it, or still may."""
        never_begins = self.api["metadata"].get("deletionTimestamp") and not self.api["spec"].get("nodeName")
        return not self.is_lost and not never_begins and not all(agent.has_ended for agent in self.agents)

    @property
    def has_passed(self) -> bool:
        return all(agent.passed for agent in self.agents)

    @property
    def passed(self) -> int:
        """How many steps from the first on have passed."""
        return next((n for n, agent in enumerate(self.agents) if not agent.passed), len(self.agents))

    def set_by_hand(self, order: str | None) -> None:
        """Write into the order annotation, as anybody may; None removes it."""
        annotations, self.is_by_hand = self.api["metadata"]["annotations"], True
        annotations.pop("taskorder", None)
        if order is not None:
            annotations["taskorder"] = order

    def actions(self) -> Iterator[Action]:
        """Yield all that can happen in the Pod next, but for what nobody can expect."""
        ending = bool(self.api["metadata"].get("deletionTimestamp"))
        if not self.is_lost:
            yield from self._actions_of_sidecar()
            yield from self._actions_of_agents(ending)
            if self.api["spec"].get("activeDeadlineSeconds") == 1 and self.is_alive:
                yield self.end_by_deadline
        if self.api["status"] != self._status():
            yield self.post
        if ending and not self.is_alive and not self.is_tracked:
            yield self.reap

    def _actions_of_agents(self, ending: bool) -> Iterator[Action]:
        annotation = self.api["metadata"]["annotations"].get("taskorder")
        if self.order_file != annotation:
            yield lambda: setattr(self, "order_file", annotation)
        if not self.is_ready and all(agent.has_started for agent in self.agents):
            yield lambda: setattr(self, "is_ready", True)
        for index, agent in enumerate(self.agents):
            if ending and not agent.has_ended:
                yield lambda agent=agent: self._terminate(agent)
            if agent.is_up and agent.runs_command:
                yield lambda agent=agent, index=index: self._end_command(agent, index)
                if self.order_file == "-1":
                    yield lambda agent=agent: agent.end("Cancelled", 143, self._world.node_now)
            elif agent.is_up:
                found = self._look(index)
                if found:
                    yield found
            elif not agent.has_ended and not ending and not self._holds_steps():
                yield lambda agent=agent: self.start(agent)

    def start(self, agent: Agent) -> None:
        """Start a container; the Pod has a node by then."""
        self.api["spec"]["nodeName"] = "node-1"
        agent.start()

    def _holds_steps(self) -> bool:
        """Whether the kubelet waits for a native sidecar: not for ever, for it runs for a moment each time."""
        return bool(self.sidecars) and self.is_native and self.sidecar == CRASHES and not self.sidecar_died

    def _actions_of_sidecar(self) -> Iterator[Action]:
        may_die = {
            CRASHES: True,
            DIES: any(agent.runs_command for agent in self.agents),
            FRAIL: not all(agent.has_ended for agent in self.agents),
        }
        if self.sidecars and not self.sidecar_died and may_die.get(self.sidecar):
            yield lambda: setattr(self, "sidecar_died", self._world.node_now)

    def end_by_deadline(self) -> None:
        """End whatever runs, as the kubelet does when the Pod's activeDeadlineSeconds are over."""
        for agent in self.agents:
            if agent.is_up:
                self._terminate(agent)
        self.post()
        self.is_lost = True
        self.api["status"].update(phase="Failed", reason="DeadlineExceeded")

    def _terminate(self, agent: Agent) -> None:
        if agent.is_up:
            agent.tell_to_end(self._world.node_now)
        else:
            agent.kill()

    def _look(self, index: int) -> Action | None:
        """Return what the agent does at its gate; None while it waits."""
        agent, now = self.agents[index], self._world.node_now
        before = self.agents[index - 1].done if index else "passes"
        if before == "stops":
            return lambda: agent.end("Skipped", 1, now)
        if self.order_file == "-1":
            return lambda: agent.end("Cancelled", 1, now)
        if index == 0 and self.sidecar in (CRASHES, FRAIL) and self.sidecar_died:
            return self._refuse
        if index == 0 and self.sidecar == CRASHES:
            return None
        by_order = self.by_order or (index == 0 and self.probed)
        is_turn = not by_order or self.order_file == str(index + 1)
        if before and is_turn and (index or all(a.has_started for a in self.agents)):
            return lambda: self._begin(agent)
        return None

    def _begin(self, agent: Agent) -> None:
        agent.runs_command = self.has_begun = True

    def _refuse(self) -> None:
        """End the first step since a sidecar has failed before it began."""
        words = 'sidecar "web" ended before the first step began: exit code 3'
        self.is_refused = True
        self.agents[0].end("Skipped", 1, self._world.node_now, reason="SidecarFailed", sidecar="web", message=words)

    def _end_command(self, agent: Agent, index: int) -> None:
        outcome = self.outcomes[index % len(self.outcomes)]
        if outcome == KILLED:
            agent.kill("OOMKilled")
        elif outcome == FAILS:
            agent.end("Failed", 3, self._world.node_now, reason="Error", message="no such thing")
        else:
            agent.end("Succeeded", 0, self._world.node_now, reason="Completed", **{"result.last": agent.name})

    def lose(self, reason: str) -> None:
        """End everything at once, and post it: the node has run out of something."""
        for agent in self.agents:
            if agent.is_up:
                agent.kill()
        self.post()
        self.is_lost = True
        self.api["status"].update(phase="Failed", reason=reason, message="The node was low on resource: memory. ")

    def _status(self) -> Object:
        if self.is_lost:
            return self.api["status"]
        statuses = [{"name": agent.name, "state": copy.deepcopy(agent.state)} for agent in self.agents]
        sidecars = [self._sidecar_status(name) for name in self.sidecars]
        statuses = sorted([*statuses, *([] if self.is_native else sidecars)], key=lambda s: s["name"])
        return {
            "phase": self._phase(statuses),
            "containerStatuses": statuses,
            **({"initContainerStatuses": sidecars} if self.is_native else {}),
        }

    def _phase(self, statuses: list[Object]) -> str:
        """Return the phase. It is terminal a moment after the containers' ends have been told."""
        if all(agent.has_ended for agent in self.agents):
            if self.api["status"].get("containerStatuses") != statuses:
                return "Running"
            codes = [agent.state["terminated"]["exitCode"] for agent in self.agents]
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if all(agent.has_started for agent in self.agents) else "Pending"

    def _sidecar_status(self, name: str) -> Object:
        end = {"exitCode": 3, "reason": "Error", "message": "no such port", "finishedAt": self.sidecar_died}
        died = {"terminated": end}
        if self.sidecar_died and self.is_native:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
            return {"name": name, "ready": False, "restartCount": 1, "state": state, "lastState": died}
        if self.sidecar_died:
            return {"name": name, "ready": False, "state": died}
        if all(agent.has_ended for agent in self.agents):
            return {"name": name, "ready": False, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
        is_up = self.is_ready and self.sidecar != CRASHES
        state = {"running": {}} if is_up else {"waiting": {"reason": "ContainerCreating"}}
        return {"name": name, "ready": self.is_ready, "state": state}

    def post(self) -> None:
        """Tell the API server how the Pod is."""
        self.api["status"] = self._status()

    def reap(self) -> None:
        """Tell the API server that the Pod is gone."""
        if self._world.pods.get(self.name) is self:
            del self._world.pods[self.name]


class World:
    """The API server with one Task, in the place of the TaskApi that the modules talk to.

    ``tracks`` says whether the operator has the Pods stay until their ends are recorded. ``reads`` has the name of each
    Pod that it has asked for by name. ``admit`` changes each Pod that is made, as an admission webhook does.
    """

    tracks, own_namespace = False, ""

    def __init__(
        self,
        task: Object,
        outcomes: Callable[[Object, Object], list[str]],
        native: bool = False,
        sidecar: Callable[[Object], str] = lambda _pod: RUNS,
        skew: int = 0,
    ) -> None:
        self.task, self.outcomes = task, outcomes
        self.native, self.sidecar = native, sidecar
        self.skew = datetime.timedelta(seconds=skew)
        self.pods: dict[str, SimulatedPod] = {}
        self.made: list[SimulatedPod] = []
        self.events: list[tuple[str, str]] = []
        self.clock = START
        self.reads: list[str] = []
        self.admit: Callable[[Object], None] = lambda _pod: None
        self._told: set[tuple[str, str]] = set()
        self._uids = 0

    @property
    def now(self) -> str:
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def node_now(self) -> str:
        """The time as the node has it, whose clock may be another."""
        return (self.clock + self.skew).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def status(self) -> Object:
        return self.task.get("status") or {}

    # What the modules call.

    def get_task(self, _namespace: str, _name: str) -> Object:
        return copy.deepcopy(self.task)

    def pods_of(self, _tasks: Sequence[Object] = ()) -> list[Object]:
        """Return the Pods that labels and owner show."""
        return [copy.deepcopy(pod.api) for pod in self.pods.values() if not is_astray(self.task, pod.api)]

    def get_pod(self, _namespace: str, name: str) -> Object | None:
        self.reads.append(name)
        found = self.pods.get(name)
        return copy.deepcopy(found.api) if found else None

    def has_native_sidecars(self) -> bool:
        return self.native

    def create_pod(self, pod: Object, dry_run: bool = False) -> Object:
        json.dumps(pod)
        assert not dry_run
        # What was sent stays as it was.
        pod = copy.deepcopy(pod)
        self.admit(pod)
        name = pod["metadata"]["name"]
        if name in self.pods:
            raise TaskError(ALREADY_EXISTS, f"{name} is there")
        assert self.status.get("status") not in FINAL or not self._is_current(self.status), "it has its verdict"
        assert not [p.name for p in self.pods.values() if p.is_alive], "another Pod is alive"
        assert not self._is_done_by(pod), "a Pod of this run has succeeded"
        self._uids += 1
        pod["metadata"].update(uid=f"pod-{self._uids}", creationTimestamp=self.now, resourceVersion="1")
        pod["status"] = {"phase": "Pending"}
        made = SimulatedPod(copy.deepcopy(pod), self.task["spec"], self.outcomes(self.task["spec"], pod), self)
        self.pods[name] = made
        self.made.append(made)
        return pod

    def admitted_pod(self, pod: Object) -> Object:
        admitted = copy.deepcopy(pod)
        self.admit(admitted)
        return admitted

    def _is_done_by(self, pod: Object) -> bool:
        """Whether a Pod that is still there has done what a new one would do again."""
        digest = pod["metadata"]["annotations"]["api.practice.com/spec-hash"]
        cancelled = "api.practice.com/cancelled"
        there = [
            p for p in self.made if self.pods.get(p.name) is p and cancelled not in p.api["metadata"]["annotations"]
        ]
        return any(p.has_passed and not p.is_spent and p.spec_hash == digest for p in there)

    def delete_pod(self, pod: Object) -> None:
        found = self._find(pod)
        if found is None:
            return
        is_over = found.api["status"]["phase"] in ("Succeeded", "Failed")
        if is_over and not found.is_tracked:
            found.reap()
        else:
            grace = 0 if is_over else GRACE
            due = self.clock + datetime.timedelta(seconds=grace)
            found.api["metadata"].setdefault("deletionTimestamp", due.strftime("%Y-%m-%dT%H:%M:%SZ"))
            found.api["metadata"].setdefault("deletionGracePeriodSeconds", grace)

    def release_pod(self, pod: Object) -> None:
        found = self._find(pod)
        if found is None:
            return
        assert self.tracks and found.is_tracked, "nothing keeps it"
        assert not found.is_alive, "something runs in it"
        del found.api["metadata"]["finalizers"]
        if found.api["metadata"].get("deletionTimestamp"):
            found.reap()

    def reclaim_pod(self, task: Object, pod: Object) -> Object:
        found = self._find(pod)
        assert found and is_astray(task, found.api), "it has all that it needs"
        metadata = found.api["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), **task_labels(task["metadata"]["name"])}
        metadata["ownerReferences"] = [owner_reference(TASK, task)]
        return copy.deepcopy(found.api)

    def set_order(self, pod: Object, order: int, cancelled: bool = False) -> Object:
        found = self._find(pod)
        annotations = found.api["metadata"]["annotations"] if found else {}
        if annotations.get("taskorder") != pod["metadata"]["annotations"].get("taskorder"):
            raise TaskError("OrderConflict", "somebody else was faster")
        before, last = found.order, len(self.task["spec"]["steps"])
        if found.is_by_hand:
            # The operator knows of no more than it has recorded.
            known = int(self.status.get("order", 0)) if self.status.get("podUID") == found.uid else 0
            assert order == -1 or 0 <= known <= order <= found.passed + 1
        else:
            by_one = self.task["spec"].get("handoff") == "Annotation"
            assert before != -1 and (order == -1 or before < order <= (before + 1 if by_one else last))
        annotations["taskorder"], found.order, found.is_by_hand = str(order), order, False
        if cancelled:
            annotations["api.practice.com/cancelled"] = "true"
        return copy.deepcopy(found.api)

    def end_pod(self, pod: Object, fault: str = "") -> Object:
        is_told = pod["metadata"]["annotations"].get("taskorder") == "-1"
        ended = pod if is_told else self.set_order(pod, -1)
        found = self._find(pod)
        assert found.api["status"]["phase"] not in ("Succeeded", "Failed"), "it has ended"
        found.api["spec"]["activeDeadlineSeconds"] = 1
        if fault:
            assert not found.has_begun, "the steps have begun"
            assert self.task["spec"].get("sidecars"), "there is none"
            found.api["metadata"]["annotations"]["api.practice.com/sidecar-failed"] = fault
        return {**ended, **copy.deepcopy(found.api)}

    def set_status(self, _task: Object, status: Object) -> None:
        before = self.status
        if before.get("status") in FINAL and self._is_current(before):
            for key in ("status", "completionTime", "duration", "conditions", "podName", "progress"):
                assert status.get(key) == before.get(key), f"the verdict's {key} has changed"
        named = self.pods.get(status.get("podName"))
        if named and status.get("status") != "Pending":
            is_cancelled = self.task["spec"].get("cancel")
            assert is_cancelled or not named.is_spent, "the Pod is that of a cancelled run"
            assert named.spec_hash == status["specHash"], "the Pod is that of another spec"
        self.task["status"] = copy.deepcopy(status)

    def emit(self, _task: Object, event: Any, once: str = "") -> None:
        if not once or (event.reason, once) not in self._told:
            self.events.append((event.type, event.reason))
        self._told.add((event.reason, once))

    def _find(self, pod: Object) -> SimulatedPod | None:
        found = self.pods.get(pod["metadata"]["name"])
        return found if found and found.api["metadata"]["uid"] == pod["metadata"]["uid"] else None

    def _is_current(self, status: Object) -> bool:
        """Whether a status is still that of the Task's run."""
        if self.is_cancelled_by_spec(status):
            # A Pod of a new run may be there before anything is recorded of it.
            newer = any(pod.generation > status["observedGeneration"] for pod in self.pods.values())
            if newer or not self.task["spec"].get("cancel"):
                return False
        return status["specHash"] == spec_hash(self.task)

    @staticmethod
    def is_cancelled_by_spec(status: Object) -> bool:
        return status.get("status") == "Cancelled" and condition(status)["reason"] == "Cancelled"

    # What others do.

    def round(self, tasks: int = 3) -> Object:
        """Reconcile once, as playbooks/task.yml does, and return the result.

        Or do only the Pod, or it and the order, should the operator be killed then.
        """
        self.clock += datetime.timedelta(seconds=1)
        outcome = self.serve(lambda reconciler, found: reconciler.reconcile(found), up_to=tasks)
        if isinstance(outcome, OperatorKilled):
            return {}
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def round_by_modules(self) -> None:
        """Reconcile once by the three modules that do a part of it, each with its own reading."""
        self.clock += datetime.timedelta(seconds=1)
        result = self.serve(lambda reconciler, found: reconciler.have_pod(found))
        problem = result if isinstance(result, TaskError) else None
        if problem is None and result["action"] in ("kept", "finished"):
            self.serve(lambda reconciler, found: reconciler.advance_order(found))
        self.serve(lambda reconciler, found: reconciler.record_status(found, problem))

    def serve(self, method: Callable[[Any, Found], Object], up_to: int = 3) -> Object | Exception:
        """Serve the Task with one of the reconciler's methods, and return what came of it."""
        reconciler = make_reconciler(
            self, agent_image="agent:1", own_namespace=self.own_namespace, track_pods=self.tracks
        )
        target = Target("default", "demo")

        def dies(*_args: Any) -> None:
            raise OperatorKilled

        with mock.patch.object(_reconcile, "timestamp", lambda: self.now), contextlib.ExitStack() as stack:
            for number, write in ((2, "set_order"), (3, "set_status")):
                if up_to < number:
                    stack.enter_context(mock.patch.object(self, write, dies))
            return serve_all(
                self, [target], lambda found, _target: method(reconciler, found), reconciler.others_are_done
            )[0]

    def change(self, **spec: Any) -> None:
        """Change the Task's spec."""
        was_cancelled = self.task["spec"].get("cancel") and self.is_cancelled_by_spec(self.status)
        spent = self.status["observedGeneration"] if was_cancelled and spec.get("cancel") is False else 0
        if {**self.task["spec"], **spec} != self.task["spec"]:
            self.task["metadata"]["generation"] += 1
            self.task["spec"] = {**self.task["spec"], **spec}
        for pod in self.pods.values():
            pod.is_spent = pod.is_spent or pod.generation <= spent

    def actions(self) -> list[Action]:
        """Return all that can happen in the Pods next."""
        return [action for pod in self.pods.values() for action in pod.actions()]

    def settle(self) -> None:
        """Let everything happen that still will."""
        for _ in range(200):
            before = copy.deepcopy((self.task, self.pods_of()))
            self.round()
            while actions := self.actions():
                actions[0]()
            if before == (self.task, self.pods_of()) and not self._awaits_time():
                return
        raise AssertionError(f"it never ends: {json.dumps(self.status)}")

    def _awaits_time(self) -> bool:
        """Let the timeout pass if nothing else can happen."""
        start, timeout = self.status.get("startTime"), self.task["spec"].get("timeout")
        if not start or not timeout or self.status["status"] in FINAL:
            return False
        passed = (self.clock - parse_time(start)).total_seconds()
        self.clock += datetime.timedelta(seconds=100)
        return passed < 1000
