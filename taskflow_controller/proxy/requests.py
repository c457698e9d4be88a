"""Finds out what a request to the API server is about. Pure functions."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

import h11

_LONG_RUNNING = {"attach", "exec", "log", "portforward", "proxy"}


@dataclass(frozen=True)
class ResourcePath:
    """The meaning of a path: all objects of a kind, one object, or a subresource of it.

    Attributes:
        group: the API group, "" for the core group.
        version: the group's version.
        plural: the kind's name in paths.
        namespace: "" for none or all.
        name: the object's name, "" for all objects.
        subresource: "" for the object itself.
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_path(path: str) -> ResourcePath | None:
    """Return the meaning of a path such as ``/apis/apps/v1/namespaces/x/deployments/y/scale``.

    Return None for any other path, such as discovery, metrics, and the deprecated ``/watch/`` paths.
    """
    prefix, *parts = (unquote(part) for part in path.strip("/").split("/"))
    if prefix == "api" and len(parts) >= 2:
        group = ""
    elif prefix == "apis" and len(parts) >= 3:
        group = parts.pop(0)
    else:
        return None
    version, *parts = parts
    if parts[0] == "watch" or not all(parts):
        return None
    namespace = ""
    # After a namespace's name comes a kind in it, or one of the namespace's own two subresources.
    if parts[0] == "namespaces" and len(parts) >= 3 and not (len(parts) == 3 and parts[2] in ("status", "finalize")):
        namespace, parts = parts[1], parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    return ResourcePath(group, version, parts[0], namespace, name, "/".join(parts[2:]))


def split_target(request: h11.Request) -> tuple[str, dict[str, str]]:
    """Return a request's path and its query parameters. Of a parameter that is given twice, the last counts."""
    path, _mark, query = request.target.decode("latin-1").partition("?")
    return path, dict(parse_qsl(query, keep_blank_values=True))


def is_watch(request: h11.Request) -> bool:
    """Return whether a request is a watch."""
    return split_target(request)[1].get("watch", "0") not in ("0", "false")


def is_long_running(request: h11.Request) -> bool:
    """Return whether the API server may be silent for any time before and during its answer."""
    resource = None if is_watch(request) else parse_path(split_target(request)[0])
    return resource is None or resource.subresource.partition("/")[0] in _LONG_RUNNING
