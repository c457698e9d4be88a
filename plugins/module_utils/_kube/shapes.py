# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The shapes of the API's objects, as far as they are read and written here.

A field that the API server may leave out may be missing; one that is free-form is an ``Object``.
"""

from __future__ import annotations

import typing as t

from .._contract import Object


class OwnerReference(t.TypedDict, total=False):
    """Whose an object is."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: bool
    blockOwnerDeletion: bool


class Metadata(t.TypedDict, total=False):
    """What every object has."""

    name: t.Required[str]
    namespace: t.Required[str]
    uid: str
    generation: int
    resourceVersion: str
    creationTimestamp: str
    deletionTimestamp: str
    deletionGracePeriodSeconds: int
    labels: dict[str, str]
    annotations: dict[str, str]
    ownerReferences: list[OwnerReference]
    finalizers: list[str]


class Condition(t.TypedDict, total=False):
    """One of a status's conditions."""

    type: t.Required[str]
    status: t.Required[str]
    reason: str
    message: str
    lastTransitionTime: str
    observedGeneration: int


class Running(t.TypedDict, total=False):
    """The state of a container that runs."""

    startedAt: str


class Waiting(t.TypedDict, total=False):
    """The state of a container that has yet to be started."""

    reason: str
    message: str


class Terminated(t.TypedDict, total=False):
    """The state of a container that has ended."""

    exitCode: int
    reason: str
    message: str
    startedAt: str
    finishedAt: str


class ContainerState(t.TypedDict, total=False):
    """One of the three."""

    running: Running | None
    waiting: Waiting | None
    terminated: Terminated | None


class ContainerStatus(t.TypedDict, total=False):
    """What the kubelet says of a container."""

    name: t.Required[str]
    state: ContainerState
    lastState: ContainerState
    ready: bool
    restartCount: int
    image: str
    imageID: str


class PodSpec(t.TypedDict, total=False):
    """What of a Pod's spec is read and changed; its containers are free-form."""

    initContainers: list[Object]
    containers: list[Object]
    nodeName: str
    activeDeadlineSeconds: int


class PodStatus(t.TypedDict, total=False):
    """What the kubelet and others say of a Pod."""

    phase: str
    reason: str
    message: str
    conditions: list[Condition]
    initContainerStatuses: list[ContainerStatus]
    containerStatuses: list[ContainerStatus]


class Pod(t.TypedDict, total=False):
    """A Pod."""

    apiVersion: str
    kind: str
    metadata: t.Required[Metadata]
    spec: PodSpec
    status: PodStatus


class Step(t.TypedDict, total=False):
    """A step or a sidecar of a Task: what it has beside the fields of a core/v1 Container, and the names of those."""

    name: t.Required[str]
    image: str
    command: list[str]
    args: list[str]
    script: str
    env: list[Object]
    volumeMounts: list[Object]
    readinessProbe: Object
    timeout: str
    onError: str
    retries: int


class TaskSpec(t.TypedDict, total=False):
    """What a Task is to do."""

    steps: t.Required[list[Step]]
    sidecars: list[Step]
    stepTemplate: Object
    params: list[Object]
    volumes: list[Object]
    podTemplate: Object
    serviceAccountName: str
    handoff: str
    resourcePolicy: str
    timeout: str
    retries: int
    cancel: bool
    suspend: bool
    ttlSecondsAfterFinished: int


class StepStatus(t.TypedDict, total=False):
    """How far a step is, or how it ended."""

    name: str
    state: str
    exitCode: int
    reason: str
    message: str
    retries: int
    continued: bool
    startedAt: str
    finishedAt: str
    results: dict[str, str]
    restarts: int
    imageID: str


class TaskStatus(t.TypedDict, total=False):
    """What the operator says of a Task. The last three say of which run, and of which spec, it speaks."""

    status: str
    progress: str
    conditions: list[Condition]
    steps: list[StepStatus]
    results: dict[str, str]
    podName: str
    podUID: str
    order: str
    attempts: int
    retries: int
    startTime: str
    startAt: str
    completionTime: str
    duration: str
    observedGeneration: int
    specHash: str
    # The last generation with spec.cancel whose run that ended.
    cancelledGeneration: int


class Task(t.TypedDict, total=False):
    """A Task."""

    apiVersion: str
    kind: str
    metadata: t.Required[Metadata]
    spec: t.Required[TaskSpec]
    status: TaskStatus


class ClonedRepository(t.TypedDict, total=False):
    """Where a Build's source is."""

    url: t.Required[str]
    revision: str
    secretRef: Object


class Source(t.TypedDict):
    """A Build's source."""

    git: ClonedRepository


class BuildSpec(t.TypedDict, total=False):
    """What a Build is to do: ``steps``, or one step's fields."""

    source: t.Required[Source]
    image: t.Required[str]
    steps: list[Step]
    command: list[str]
    args: list[str]
    script: str
    env: list[Object]
    volumes: list[Object]
    podTemplate: Object
    serviceAccountName: str
    backoffLimit: int
    activeDeadlineSeconds: int
    suspend: bool
    ttlSecondsAfterFinished: int


class PastBuild(t.TypedDict, total=False):
    """What a Build's status keeps of a build before the present one."""

    phase: str
    jobName: str
    revision: str
    startTime: str
    completionTime: str
    duration: str


class BuildStatus(PastBuild, total=False):
    """What the operator says of a Build. The last two say of which spec, and of which wanted state, it speaks."""

    podName: str
    conditions: list[Condition]
    steps: list[StepStatus]
    history: list[PastBuild]
    observedGeneration: int
    buildHash: str


class Build(t.TypedDict, total=False):
    """A Build."""

    apiVersion: str
    kind: str
    metadata: t.Required[Metadata]
    spec: t.Required[BuildSpec]
    status: BuildStatus


class JobStatus(t.TypedDict, total=False):
    """What the Job controller says of a Job."""

    startTime: str
    conditions: list[Condition]
    failed: int
    uncountedTerminatedPods: Object


class Job(t.TypedDict, total=False):
    """A Job; of its spec, only the limits are read."""

    apiVersion: str
    kind: str
    metadata: t.Required[Metadata]
    spec: Object
    status: JobStatus


class RecordedEvent(t.TypedDict, total=False):
    """An Event, as it is read."""

    metadata: t.Required[Metadata]
    reason: str
    message: str
    lastTimestamp: str
    eventTime: str
