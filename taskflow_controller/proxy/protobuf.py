"""Reads and adds owners in the API's protobuf form, which ``kubectl create configmap`` sends. Pure functions.

Of an object only the metadata is read, which is field 1 of every kind. What is added follows as one more field 1,
because protobuf merges a message that comes in parts.
"""

from collections.abc import Iterator

from taskflow_controller.kube.kinds import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# runtime.Unknown, TypeMeta, ObjectMeta, OwnerReference, an entry of a map
_TYPE, _RAW, _API_VERSION, _KIND = 1, 2, 1, 2
_METADATA = 1
_NAME, _NAMESPACE, _ANNOTATIONS, _REFERENCES = 1, 3, 12, 13
_REFERENCE = {"kind": 1, "name": 3, "uid": 4, "apiVersion": 5}
_KEY, _VALUE = 1, 2


def read_object(body: bytes) -> Object | None:
    """Return an object's kind, name, namespace, annotations and owners; None if the body is not an object."""
    try:
        if not body.startswith(_MAGIC):
            return None
        envelope = dict(_fields(body[len(_MAGIC) :]))
        type_meta, metadata = dict(_fields(envelope.get(_TYPE, b""))), b"".join(_metadata(envelope[_RAW]))
        found = {"name": _NAME, "namespace": _NAMESPACE}
        texts = dict(_fields(metadata))
        annotations = dict(_annotations(metadata))
        references = [
            _texts(dict(_fields(value)), _REFERENCE) for field, value in _fields(metadata) if field == _REFERENCES
        ]
        return {
            **_texts(type_meta, {"apiVersion": _API_VERSION, "kind": _KIND}),
            "metadata": {
                **_texts(texts, found),
                **({"annotations": annotations} if annotations else {}),
                **({"ownerReferences": references} if references else {}),
            },
        }
    except (IndexError, KeyError, ValueError):  # a UnicodeDecodeError is one
        return None


def add_owner(body: bytes, before: Object, after: Object) -> bytes:
    """Return a body with the owners and annotations added that ``after`` has and ``before`` lacks.

    Args:
        body: an object in protobuf form.
        before: what ``read_object`` returned for it.
        after: the same with an owner.
    """
    old, new = before["metadata"], after["metadata"]
    added = b"".join(
        _field(_REFERENCES, b"".join(_field(_REFERENCE[key], text.encode()) for key, text in reference.items()))
        for reference in new.get("ownerReferences", [])
        if reference not in old.get("ownerReferences", [])
    )
    added += b"".join(
        _field(_ANNOTATIONS, _field(_KEY, key.encode()) + _field(_VALUE, text.encode()))
        for key, text in new.get("annotations", {}).items()
        if old.get("annotations", {}).get(key) != text
    )
    envelope = (
        _field(field, value + _field(_METADATA, added) if field == _RAW else value)
        for field, value in _fields(body[len(_MAGIC) :])
    )
    return _MAGIC + b"".join(envelope)


def _metadata(raw: bytes) -> Iterator[bytes]:
    return (value for field, value in _fields(raw) if field == _METADATA)


def _annotations(metadata: bytes) -> Iterator[tuple[str, str]]:
    for field, value in _fields(metadata):
        if field == _ANNOTATIONS:
            entry = dict(_fields(value))
            yield entry.get(_KEY, b"").decode(), entry.get(_VALUE, b"").decode()


def _texts(fields: dict[int, bytes], names: dict[str, int]) -> dict[str, str]:
    return {name: fields[field].decode() for name, field in names.items() if field in fields}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and content of each field of a message that holds bytes. Raises IndexError or ValueError."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _BYTES:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("a field that is longer than its message")
            yield field, message[position : position + size]
            position += size
        elif wire_type == _VARINT:
            _number, position = _varint(message, position)
        elif wire_type in (_FIXED32, _FIXED64):
            position += 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _field(number: int, content: bytes) -> bytes:
    return _encode(number << 3 | _BYTES) + _encode(len(content)) + content


def _encode(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
