"""The events of a watch, out of the bytes of its stream."""

import json
from collections.abc import Iterable, Iterator

from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.kinds import Object


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream that comes in pieces, without empty ones and without one that has no end."""
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
        line: the event's JSON. What is no UTF-8 in it is replaced.

    Raises:
        ApiException: the event is an error of the server.
        ValueError: the line is no event.
    """
    event = json.loads(line.decode(errors="replace"))
    try:
        event_type, obj = event["type"], event["object"]
        if event_type == "ERROR":
            raise ApiException(status=obj.get("code"), reason=f"{obj.get('reason')}: {obj.get('message')}")
        whole = isinstance(obj["metadata"]["resourceVersion"], str)
    except (TypeError, KeyError, AttributeError) as exc:
        raise ValueError("a line is no event of a watch") from exc
    if event_type not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not whole:
        raise ValueError(f"a watch can't tell of {event_type!r}")
    return event_type, obj
