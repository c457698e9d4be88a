"""Reads and writes the objects in requests and answers. Pure functions."""

import json
from collections.abc import Iterator
from typing import Any, cast

from taskflow_controller.config.located_yaml import LocatedYamlError, load_located, plain
from taskflow_controller.kube.kinds import Object
from taskflow_controller.proxy import protobuf

APPLY_PATCH = "application/apply-patch+yaml"
_JSON = {"", "application/json"}
_YAML = {"application/yaml", APPLY_PATCH}


def media_type(content_type: bytes) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


def is_readable(media: str) -> bool:
    """Return whether ``read_object`` can read a body of this media type."""
    return media in _JSON or media in _YAML or media == protobuf.MEDIA_TYPE


def read_object(media: str, body: bytes) -> Object | None:
    """Return the object in a request's body, or None if there is none; from protobuf only its kind and metadata.

    Args:
        media: the body's type, one for which ``is_readable`` returns true.
        body: the whole body.
    """
    if media == protobuf.MEDIA_TYPE:
        return protobuf.read_object(body)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = _read_yaml(body) if media in _YAML else None
    if isinstance(content, dict) and isinstance(content.get("metadata"), dict | None):
        return content
    return None


def write_owner(media: str, body: bytes, before: Object, after: Object) -> bytes:
    """Return a body with an owner added to its object. For YAML, too, it is JSON.

    Args:
        media: the body's type.
        body: the body without the owner.
        before: the object that ``read_object`` found in it.
        after: the same object with the owner.
    """
    return protobuf.add_owner(body, before, after) if media == protobuf.MEDIA_TYPE else encode(after)


def _read_yaml(body: bytes) -> Any:
    try:
        return plain(load_located(body.decode()))
    except (LocatedYamlError, UnicodeDecodeError, RecursionError):
        return None


def objects_in(answer: Object) -> Iterator[Object]:
    """Yield the objects in an answer: itself, the items of a list, or the objects in the rows of a table."""
    if answer.get("kind") == "Table":
        rows = answer.get("rows") or []
        yield from (row["object"] for row in rows if isinstance(row, dict) and isinstance(row.get("object"), dict))
    elif isinstance(answer.get("items"), list):
        yield from (item for item in answer["items"] if isinstance(item, dict))
    else:
        yield answer


def read_answer(body: bytes) -> Object | None:
    """Return an answer's JSON, or None if it is not a JSON object."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast(Object, content) if isinstance(content, dict) else None


def encode(obj: Object) -> bytes:
    """Return an object as JSON."""
    return json.dumps(obj, separators=(",", ":")).encode()
