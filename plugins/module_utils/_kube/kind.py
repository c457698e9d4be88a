# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The kinds of objects that are read and written, and where the API has them. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .. import _contract as c
from .._contract import Object
from .shapes import Build, Job, Pod, RecordedEvent, Task

# The shape of an object.
S = t.TypeVar("S", bound=t.Mapping[str, t.Any])


@dataclasses.dataclass(frozen=True)
class Kind(t.Generic[S]):
    """A kind of object.

    Attributes:
        name: as an object's field ``kind`` has it.
        api_version: group and version; of the core group the version alone.
        plural: as the API's paths have it.
    """

    name: str
    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """The group; "" of the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str, *words: str) -> str:
        """Return the API's path of a namespace's objects ("" for all namespaces), or of what the words name in it."""
        root = "apis" if self.group else "api"
        place = ("namespaces", namespace) if namespace else ()
        return "/".join(["", root, self.api_version, *place, self.plural, *words])


TASK: Kind[Task] = Kind("Task", f"{c.GROUP}/v1alpha1", "tasks")
BUILD: Kind[Build] = Kind("Build", "ci.zt.vapi.cc/v1", "builds")
JOB: Kind[Job] = Kind("Job", "batch/v1", "jobs")
POD: Kind[Pod] = Kind("Pod", "v1", "pods")
SECRET: Kind[Object] = Kind("Secret", "v1", "secrets")
SERVICE_ACCOUNT: Kind[Object] = Kind("ServiceAccount", "v1", "serviceaccounts")
EVENT: Kind[RecordedEvent] = Kind("Event", "v1", "events")
