# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The facts that the modules, the Pod and the operator share. Each stands here and nowhere else."""

from __future__ import annotations

import typing as t

# An object of the API, or a part of one, as it is written in JSON.
Object = dict[str, t.Any]

COLLECTION_VERSION = "0.1.0"

GROUP = "api.practice.com"

# The Pod's metadata. The first three names are the protocol of the Go original.
ORDER_ANNOTATION = "taskorder"
TYPE_LABEL, TYPE_LABEL_VALUE = "type", "taskpod"
TASK_LABEL = "taskname"
GENERATION_ANNOTATION = GROUP + "/generation"
SPEC_HASH_ANNOTATION = GROUP + "/spec-hash"
ATTEMPT_ANNOTATION = GROUP + "/attempt"
RETRY_ANNOTATION = GROUP + "/retry"
# What a sidecar did that failed the Pod's attempt, in words.
SIDECAR_ANNOTATION = GROUP + "/sidecar-failed"
# "true" on the Pod of a run that spec.cancel ended.
CANCELLED_ANNOTATION = GROUP + "/cancelled"
# On a Pod: it stays, though somebody deletes it, until the operator has recorded its end.
TRACKING_FINALIZER = GROUP + "/task-tracking"
# On a Task: its order goes no further than this number; any other value holds it where it is.
HOLD_ANNOTATION = GROUP + "/hold-order"
POD_NAME_PREFIX = "task-pod-"
# What of a podTemplate's metadata nobody else may set: these names, and those that begin so.
RESERVED_NAMES = (ORDER_ANNOTATION, TYPE_LABEL, TASK_LABEL)
RESERVED_DOMAINS = (GROUP + "/", "build.taskflow/")
# All annotations of an object together; and how much of that a podTemplate leaves to the operator.
ANNOTATIONS_BYTES, OWN_ANNOTATIONS_BYTES = 256 * 1024, 16 * 1024

# The states of a Task, and of a Build, which is never cancelled.
PENDING, RUNNING, SUCCESSFUL, FAILURE, CANCELLED = "Pending", "Running", "Successful", "Failure", "Cancelled"
FINAL = (SUCCESSFUL, FAILURE, CANCELLED)
# The states of a step, which may be RUNNING and CANCELLED, too.
WAITING, SUCCEEDED, FAILED, SKIPPED = "Waiting", "Succeeded", "Failed", "Skipped"
ENDED = (SUCCEEDED, FAILED, SKIPPED, CANCELLED)

# The values of the order annotation: 0 before the first step, 1 to N while step N runs, -1 at the end of a Task
# that failed.
ORDER_INITIAL = 0
ORDER_QUIT = -1

# The hand-off, the resource policy and the way to take a failure that are not the defaults.
HANDOFF_ANNOTATION = "Annotation"
RESOURCES_MAX = "Max"
ON_ERROR_CONTINUE = "continue"

# What may change in a spec without a new run.
CONTROL_FIELDS = ("cancel", "suspend", "ttlSecondsAfterFinished")

# A Pod that is lost (deleted, evicted) is replaced until this many have been lost.
MAX_LOSSES = 3

# Seconds that the steps of a Task have to end after its timeout, before the Task is given up without them, and
# that the kubelet waits beyond the timeout before it ends the Pod itself (should the operator be away).
TIMEOUT_GRACE = 60
# The Pod's activeDeadlineSeconds by which the operator has the kubelet end it at once: unlike one that is deleted, it
# stays, and so do its logs. No timeout is as short, for TIMEOUT_GRACE is added to it.
END_NOW = 1
# Seconds after which a Pod that should have ended is said to be stuck.
STUCK_AFTER = 60

# Seconds after which the death of a sidecar is told: by then the first step has said so, should it not have begun.
DEATH_TOLD_AFTER = 5

# Where things are in the Pod.
AGENT_NAME = "taskflow-agent"
AGENT_DIR = "/taskflow/bin"
RUN_DIR = "/taskflow/run"
SCRIPTS_DIR = "/taskflow/scripts"
PODINFO_DIR = "/etc/podinfo"
ORDER_FILE_NAME = "order"
RESULTS_DIR_NAME = "results"
# The kubelet cuts a container's termination message at 4 KiB, and at its share of 12 KiB among the Pod's containers.
CONTAINER_MESSAGE_BYTES = 4096
POD_MESSAGE_BYTES = 12 * 1024
INSTALL_CONTAINER = "taskflow-install"
AGENT_VOLUME = "taskflow-agent"
RUN_VOLUME_PREFIX = "taskflow-run-"
SCRIPTS_VOLUME = "taskflow-scripts"
# One string of an argument vector or environment, its terminating NUL included (MAX_ARG_STRLEN of Linux).
ARGUMENT_BYTES = 128 * 1024
PODINFO_VOLUME = "podinfo"
RESERVED_VOLUME_PREFIX = "taskflow-"
RESERVED_PATHS = ("/taskflow", PODINFO_DIR)
# Where a container writes its termination message by default; and where the kernel's own files are.
DEFAULT_MESSAGE_PATH = "/dev/termination-log"
KERNEL_PATHS = ("/proc", "/sys", "/dev")

# Where a Pod finds the namespace that it is in.
OWN_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

DEFAULT_AGENT_IMAGE = "docker.io/taskflow/agent:v" + COLLECTION_VERSION
AGENT_IMAGE_ENV = "TASKFLOW_AGENT_IMAGE"
REGISTRY_MIRRORS_ENV = "TASKFLOW_REGISTRY_MIRRORS"
REGISTRY_CA_ENV = "TASKFLOW_REGISTRY_CA"
IMAGE_CACHE_ENV = "TASKFLOW_IMAGE_CACHE"
