# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Find Tasks, and look up images, for a playbook that only reads."""

from __future__ import annotations

import base64
import json
import typing as t

from .._contract import Object
from .._image.lookup import LookupSettings, PullSecrets, look_up
from .._image.name import parse_image
from .._kube.client import Api
from .._kube.kind import SECRET, SERVICE_ACCOUNT, TASK, Kind, S
from .._kube.shapes import Task
from .wanted import state_of

# The name that the user's own credentials have beside pull secrets.
GIVEN = "username and password"


def find_tasks(api: Api, params: t.Mapping[str, t.Any]) -> list[Task]:
    """Return the Tasks that match ``name``, ``namespaces``, ``label_selectors`` and ``states``; those given, all of it.

    One request lists the Tasks of all namespaces; where namespaces are given, there is one for each.
    """
    labels = ",".join(params["label_selectors"] or [])
    fields = f"metadata.name={params['name']}" if params["name"] else ""
    found: list[Task] = []
    for namespace in dict.fromkeys(params["namespaces"] or [""]):
        what = f"the {TASK.plural} of {f'namespace {namespace}' if namespace else 'all namespaces'}"
        for task in api.list_all(TASK, namespace, what, labels, fields):
            found.append({"apiVersion": TASK.api_version, "kind": TASK.name, **task})
    states = params["states"]
    return [task for task in found if not states or state_of(TASK, task) in states]


class GivenCredentials:
    """Pull secrets that are no cluster's: one for each registry, made of one user's name and password, or none."""

    def __init__(self, registries: t.Iterable[str], username: str | None, password: str | None) -> None:
        auth = base64.b64encode(f"{username}:{password}".encode()).decode() if username else None
        content = json.dumps({"auths": {registry: {"auth": auth} for registry in registries}})
        data = {".dockerconfigjson": base64.b64encode(content.encode()).decode()}
        secret = {"type": "kubernetes.io/dockerconfigjson", "data": data} if auth else None
        account = {"imagePullSecrets": [{"name": GIVEN}] if auth else []}
        self._objects: dict[str, t.Any] = {SECRET.name: secret, SERVICE_ACCOUNT.name: account}

    def get(self, kind: Kind[S], namespace: str, name: str) -> S | None:
        """Return the credentials as a pull secret, or a ServiceAccount that names it, if there is one."""
        found: S | None = self._objects[kind.name]
        return found


def describe_images(
    params: t.Mapping[str, t.Any], settings: LookupSettings, connect: t.Callable[[], PullSecrets]
) -> list[Object]:
    """Return what each image runs by itself.

    Args:
        params: ``images``, ``namespace``, ``service_account``, ``pull_secrets``, ``username`` and ``password``.
        settings: how to look.
        connect: leads to the cluster; called only where its pull secrets are to be read.

    Raises:
        TaskError: as look_up() has it.
    """
    images, names = params["images"], params["pull_secrets"] or []
    registries = {parse_image(image).registry for image in images}
    of_cluster = names or params["service_account"]
    secrets = connect() if of_cluster else GivenCredentials(registries, params["username"], params["password"])
    found = look_up(secrets, params["namespace"], params["service_account"] or "default", names, images, settings)
    return [
        {"image": image, "entrypoint": list(found[image].entrypoint), "cmd": list(found[image].cmd)} for image in images
    ]
