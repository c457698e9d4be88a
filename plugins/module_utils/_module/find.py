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
from .apply import ResourceCluster
from .wanted import TASK

# The name that the user's own credentials have beside pull secrets.
GIVEN = "username and password"


def find_tasks(cluster: ResourceCluster, params: t.Mapping[str, t.Any]) -> list[Object]:
    """Return the Tasks that match ``name``, ``namespaces``, ``label_selectors`` and ``states``; those given, all of it.

    One request lists the Tasks of all namespaces; where namespaces are given, there is one for each.
    """
    found: list[Object] = []
    for namespace in dict.fromkeys(params["namespaces"] or [""]):
        found += cluster.list_all(TASK, namespace, params["name"] or "", params["label_selectors"] or [])
    states = params["states"]
    return [task for task in found if not states or TASK.state(task) in states]


class GivenCredentials:
    """Pull secrets that are no cluster's: one for each registry, made of one user's name and password, or none."""

    def __init__(self, registries: t.Iterable[str], username: str | None, password: str | None) -> None:
        auth = base64.b64encode(f"{username}:{password}".encode()).decode() if username else None
        content = json.dumps({"auths": {registry: {"auth": auth} for registry in registries}})
        data = {".dockerconfigjson": base64.b64encode(content.encode()).decode()}
        self._secret = {"type": "kubernetes.io/dockerconfigjson", "data": data} if auth else None

    def get_secret(self, namespace: str, name: str) -> Object | None:
        """Return the credentials as a pull secret."""
        return self._secret

    def get_service_account(self, namespace: str, name: str) -> Object | None:
        """Return a ServiceAccount that names that pull secret, if there is one."""
        return {"imagePullSecrets": [{"name": GIVEN}] if self._secret else []}


def describe_images(
    params: t.Mapping[str, t.Any], settings: LookupSettings, cluster: t.Callable[[], PullSecrets]
) -> list[Object]:
    """Return what each image runs by itself.

    Args:
        params: ``images``, ``namespace``, ``service_account``, ``pull_secrets``, ``username`` and ``password``.
        settings: how to look.
        cluster: makes the cluster; called only where its pull secrets are to be read.

    Raises:
        TaskError: as look_up() has it.
    """
    images, names = params["images"], params["pull_secrets"] or []
    registries = {parse_image(image).registry for image in images}
    of_cluster = names or params["service_account"]
    secrets = cluster() if of_cluster else GivenCredentials(registries, params["username"], params["password"])
    found = look_up(secrets, params["namespace"], params["service_account"] or "default", names, images, settings)
    return [
        {"image": image, "entrypoint": list(found[image].entrypoint), "cmd": list(found[image].cmd)} for image in images
    ]
