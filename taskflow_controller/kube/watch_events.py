"""Reads the events of a watch from the bytes of its stream."""

import json
from collections.abc import Iterable, Iterator

from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.kinds import Object


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream that comes in pieces, except empty lines and a last line without an end."""
    begun: list[bytes] = []
    for piece in pieces:
        first, *others = piece.split(b"\n")
        begun.append(first)
        for other in others:
            line = b"".join(begun)
            begun = [other]
            if line.strip():
                yield line


def decode(line: bytes) -> tuple[str, Object]:
    """Return the type and the object of an event of a watch.

    Args:
        line: the event's JSON. Bytes that are not UTF-8 are replaced.

    Raises:
        ApiException: the event is an error from the server.
        ValueError: the line is not an event.
    """
    event = json.loads(line.decode(errors="replace"))
    try:
        event_type, obj = event["type"], event["object"]
        if event_type == "ERROR":
            raise ApiException(status=obj.get("code"), reason=f"{obj.get('reason')}: {obj.get('message')}")
        whole = isinstance(obj["metadata"]["resourceVersion"], str)
    except (TypeError, KeyError, AttributeError) as exc:
        raise ValueError("a line is not a watch event") from exc
    if event_type not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not whole:
        raise ValueError(f"not a valid watch event of type {event_type!r}")
    return event_type, obj
