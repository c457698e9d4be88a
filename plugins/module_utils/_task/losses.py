# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Tell a Pod that was lost through no fault of its own from one that has failed. Pure."""

from __future__ import annotations

from .._contract import FAILED, INSTALL_CONTAINER
from .._kube.shapes import Pod, PodStatus, Terminated
from .._pod.life import DISRUPTION_CONDITION, disruption_of, is_failed
from .reports import FORGOTTEN, known_end, step_end

# The reasons of Pods that the kubelet or the node controller has ended for the node's sake, or that the kubelet has not
# admitted because its node is not as the scheduler thought; another node may well be. What no node would admit
# (SMTAlignmentError, SysctlForbidden, AppArmor, PodOSNotSupported and the like) is the Pod's own fault.
LOSSES = (
    "EmptyPodSharedPoolError",
    "InvalidNodeInfo",
    "NodeAffinity",
    "NodeLost",
    "NodeName",
    "NodePorts",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "TaintToleration",
    "Terminated",
    "TopologyAffinityError",
    "UnexpectedAdmissionError",
    "UnexpectedPredicateFailureType",
    "UnknownReason",
    "VolumeAttachmentLimitExceeded",
)
# The beginning of the reason where a node lacks a resource: OutOfcpu, OutOfmemory, OutOfnvidia.com/gpu.
OUT_OF = "OutOf"
# The reason of each Pod that the kubelet has evicted, and its words where the node was the cause. It sets the condition
# DisruptionTarget then, but neither where it has not admitted the Pod, nor before Kubernetes 1.26. The other cause is
# the Pod: a limit of its emptyDirs, or of its or a container's ephemeral storage.
EVICTED, NODE_WORDS = "Evicted", ("The node was low on resource", "The node had condition")


def loss_of(pod: Pod) -> tuple[str, str] | None:
    """Return reason and message of a Pod that was ended through no fault of a step; None of any other."""
    status = pod.get("status") or {}
    if not is_failed(pod):
        return None
    reason, message = status.get("reason", ""), (status.get("message") or "").strip()
    disruption = disruption_of(pod)
    if reason == EVICTED and (disruption or any(words in message for words in NODE_WORDS)):
        return reason, message or reason
    if reason in LOSSES or reason.startswith(OUT_OF):
        return reason, message or reason
    if disruption:
        told = disruption.get("reason") or DISRUPTION_CONDITION
        return told, disruption.get("message") or told
    # Where the kubelet gives another reason, such as DeadlineExceeded, it forgets what had yet to start.
    return None if reason else _forgotten(status)


def overuse_of(pod: Pod) -> str:
    """Return the kubelet's words for a Pod that it has evicted because it was over a limit of its own, else ""."""
    status = pod.get("status") or {}
    if not is_failed(pod) or status.get("reason") != EVICTED or loss_of(pod):
        return ""
    return f"{EVICTED}: {(status.get('message') or 'the kubelet gave no reason').strip()}"


def _forgotten(status: PodStatus) -> tuple[str, str] | None:
    """Return the loss of a Pod whose containers the kubelet does not know any more: its node was started again.

    The reason alone tells, whatever the message is. Those that ended as they were told to, or did not begin, are no
    failures beside them. The agent's init container counts, too: no step has begun before its end.
    """
    installs = [s for s in status.get("initContainerStatuses") or [] if s["name"] == INSTALL_CONTAINER]
    states = [s.get("state") or {} for s in [*installs, *(status.get("containerStatuses") or [])]]
    ended: list[Terminated] = [known_end(state.get("terminated") or {}) for state in states]
    failed = [end for end in ended if end.get("exitCode") and step_end(end)["state"] == FAILED]
    if failed and all(end.get("reason") in FORGOTTEN for end in failed):
        return "ContainerStatusUnknown", "the node does not know how its containers ended; was it restarted?"
    return None
