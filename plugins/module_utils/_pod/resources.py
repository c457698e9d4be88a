# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Resource requests of containers that run one at a time. Pure."""

from __future__ import annotations

import copy
import typing as t

from .._contract import Object
from .._errors import InvalidSpec


def keep_largest_requests(containers: t.Sequence[Object]) -> list[Object]:
    """Return the containers with each resource requested only by the one that asks for most of it, and by the others 0.

    The scheduler adds up the requests of a Pod's containers. Where a container has a limit and no request, Kubernetes
    takes the limit for the request, and so does this. The limits stay as they are.

    Extended resources (with a / in their names) and huge pages are left alone: there a request must equal the limit.

    Raises:
        InvalidSpec: a quantity that is none.
    """
    requests = [_requests(container) for container in containers]
    largest = {resource: _holder(resource, containers, requests) for resource in sorted(set[str]().union(*requests))}
    return [
        _with_requests(
            container,
            {r: asked[r] if largest[r] == index or _is_whole(r) else "0" for r in largest if r in asked},
        )
        for index, (container, asked) in enumerate(zip(containers, requests, strict=True))
    ]


def _with_requests(container: Object, requests: Object) -> Object:
    if not requests:
        return container
    changed = copy.deepcopy(container)
    changed.setdefault("resources", {})["requests"] = requests
    return changed


def _holder(resource: str, containers: t.Sequence[Object], requests: t.Sequence[Object]) -> int:
    """Return which container asks for most of a resource; the first of several that do."""
    asked = [_quantity(box, resource, own.get(resource)) for box, own in zip(containers, requests, strict=True)]
    return asked.index(max(asked))


def _is_whole(resource: str) -> bool:
    return "/" in resource or resource.startswith("hugepages-")


def _requests(container: Object) -> Object:
    resources = container.get("resources") or {}
    return {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def _quantity(container: Object, resource: str, value: t.Any) -> t.Any:
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 - it takes a second, and few need it

    if value is None:
        return 0
    try:
        return parse_quantity(value)
    except ValueError as error:
        raise InvalidSpec(
            f"spec.steps[{container['name']}].resources", f"{resource}: {value!r} is no quantity: {error}"
        ) from error
