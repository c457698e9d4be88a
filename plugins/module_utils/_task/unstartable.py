# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Find the container that no kubelet will ever start. Pure."""

from __future__ import annotations

import typing as t

from .. import _contract as c
from .containers import Containers

# The kubelet's word for an image whose name it can't read. Whatever else keeps a container from its start may pass:
# an image is pushed, or loaded into the node (ErrImageNeverPull), a Secret is created (CreateContainerConfigError).
INVALID_IMAGE_NAME = "InvalidImageName"


class Unstartable(t.NamedTuple):
    """A container that can never be started.

    Attributes:
        who: the step or sidecar, in words.
        field: whose value is the cause, such as spec.steps[0].image.
        image: that value, as the Pod has it.
        message: the kubelet's words.
    """

    who: str
    field: str
    image: str
    message: str

    @property
    def words(self) -> str:
        """What is wrong, in words."""
        return f"{self.who}: {self.field}: {self.image!r} is no name of an image: {self.message}"


def unstartable(containers: Containers) -> Unstartable | None:
    """Return the first of the Pod's own containers whose image has an invalid name; None where each may start yet."""
    if containers.all_started:
        return None
    for name, who, field in _own_images(containers):
        waiting = (containers.status_of(name).get("state") or {}).get("waiting") or {}
        if waiting.get("reason") == INVALID_IMAGE_NAME:
            spec = containers.pod.get("spec") or {}
            images = {x["name"]: x["image"] for x in [*spec.get("initContainers", []), *spec.get("containers", [])]}
            return Unstartable(who, field, images.get(name, ""), waiting.get("message") or INVALID_IMAGE_NAME)
    return None


def _own_images(containers: Containers) -> t.Iterator[tuple[str, str, str]]:
    """Yield the containers that are the operator's or the Task's: name, name in words, and where the image is from."""
    spec = containers.task["spec"]
    yield c.INSTALL_CONTAINER, "the agent", f"the operator's {c.AGENT_IMAGE_ENV}"
    for index, step in enumerate(spec["steps"]):
        field = f"spec.steps[{index}].image" if step.get("image") else "spec.stepTemplate.image"
        yield step["name"], f'step "{step["name"]}"', field
    for index, sidecar in enumerate(spec.get("sidecars") or []):
        yield sidecar["name"], f'sidecar "{sidecar["name"]}"', f"spec.sidecars[{index}].image"
