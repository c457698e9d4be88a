"""Finds the kind of a path in the API server's discovery documents, which are kept for a while."""

import asyncio
import json
import time
from dataclasses import dataclass
from http import HTTPStatus

from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.proxy.answers import ProxyError
from taskflow_controller.proxy.forward import Forwarder
from taskflow_controller.proxy.requests import ResourcePath

KEEP_SECONDS = 600.0
_STORED = {"get", "list", "watch"}


@dataclass(frozen=True)
class Kind:
    """A kind as the API server serves it.

    Attributes:
        gvk: its name.
        namespaced: whether its objects are in namespaces.
        stored: whether the server keeps its objects; not those of a TokenReview, for example.
    """

    gvk: GroupVersionKind
    namespaced: bool
    stored: bool


@dataclass(frozen=True)
class _Group:
    kinds: dict[str, Kind]
    read: float


class Discovery:
    """Looks kinds up by group, version and plural. Use it in the event loop only."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._groups: dict[tuple[str, str], _Group] = {}
        self._reading: dict[tuple[str, str], asyncio.Lock] = {}

    async def kind(self, path: ResourcePath) -> Kind | None:
        """Return the kind of a path, or None if the API server has none there.

        Raises:
            ProxyError: the API server does not say which kinds it has.
        """
        asked = time.monotonic()
        key = path.group, path.version
        async with self._reading.setdefault(key, asyncio.Lock()):
            group = self._groups.get(key)
            known = group is not None and path.plural in group.kinds
            # An unknown kind may have been installed a moment ago.
            if group is None or asked - group.read > KEEP_SECONDS or not (known or group.read > asked):
                group = self._groups[key] = _Group(await self._read(path), time.monotonic())
            return group.kinds.get(path.plural)

    async def _read(self, path: ResourcePath) -> dict[str, Kind]:
        prefix = f"/apis/{path.group}" if path.group else "/api"
        status, body = await self._forwarder.fetch(f"{prefix}/{path.version}")
        if status == HTTPStatus.NOT_FOUND:
            return {}
        if status != HTTPStatus.OK:
            text = f"the API server does not say which kinds {prefix}/{path.version} has: HTTP {status}"
            raise ProxyError(HTTPStatus.BAD_GATEWAY, text)
        return {
            resource["name"]: Kind(
                GroupVersionKind(
                    resource.get("group") or path.group, resource.get("version") or path.version, resource["kind"]
                ),
                bool(resource["namespaced"]),
                set(resource.get("verbs") or ()) >= _STORED,
            )
            for resource in json.loads(body).get("resources") or []
            if "/" not in resource["name"]
        }
