# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The facts that the modules, the Pod and the operator share. Each stands here and nowhere else."""

from __future__ import annotations

COLLECTION_VERSION = "0.1.0"

GROUP = "api.practice.com"
VERSION = "v1alpha1"
KIND = "Task"
PLURAL = "tasks"
API_VERSION = GROUP + "/" + VERSION

# The Pod's metadata. The first three names are the protocol of the Go original.
ORDER_ANNOTATION = "taskorder"
TYPE_LABEL, TYPE_LABEL_VALUE = "type", "taskpod"
TASK_LABEL = "taskname"
GENERATION_ANNOTATION = GROUP + "/generation"
ATTEMPT_ANNOTATION = GROUP + "/attempt"
POD_NAME_PREFIX = "task-pod-"

# The values of the order annotation: 0 before the first step, 1 to N while step N runs, -1 at the end of a Task
# that failed.
ORDER_INITIAL = 0
ORDER_QUIT = -1

# The hand-off that is not the default.
HANDOFF_ANNOTATION = "Annotation"

# A Pod that is lost (deleted, evicted) is replaced until this many have been lost.
MAX_ATTEMPTS = 3

# Where things are in the Pod.
AGENT_NAME = "taskflow-agent"
AGENT_DIR = "/taskflow/bin"
RUN_DIR = "/taskflow/run"
SCRIPTS_DIR = "/taskflow/scripts"
PODINFO_DIR = "/etc/podinfo"
ORDER_FILE_NAME = "order"
# The kubelet cuts a container's termination message at 4 KiB, and at its share of 12 KiB among the Pod's containers.
CONTAINER_MESSAGE_BYTES = 4096
POD_MESSAGE_BYTES = 12 * 1024
INSTALL_CONTAINER = "taskflow-install"
AGENT_VOLUME = "taskflow-agent"
RUN_VOLUME_PREFIX = "taskflow-run-"
SCRIPTS_VOLUME = "taskflow-scripts"
PODINFO_VOLUME = "podinfo"
RESERVED_VOLUME_PREFIX = "taskflow-"
RESERVED_PATHS = ("/taskflow", PODINFO_DIR)

DEFAULT_AGENT_IMAGE = "docker.io/taskflow/agent:v" + COLLECTION_VERSION
AGENT_IMAGE_ENV = "TASKFLOW_AGENT_IMAGE"
REGISTRY_MIRRORS_ENV = "TASKFLOW_REGISTRY_MIRRORS"
