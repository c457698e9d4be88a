# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""How large an object is, and how an API server says that it is too large. Pure."""

from __future__ import annotations

import json
import re
import typing as t

from .._contract import ANNOTATIONS_BYTES

# What etcd takes in one request (--max-request-bytes).
ETCD_BYTES = 1536 * 1024
ADVICE = ". Keep what is large in a ConfigMap, a volume or an image"
# The words of an API server that has no status of its own for it: etcd's, and those of its connection to etcd.
_WORDS = ("etcdserver: request is too large", "trying to send message larger than max")
_ANNOTATIONS = re.compile(r"metadata\.annotations: Too long")


def size_of(thing: t.Any) -> int:
    """Return how many bytes an object has as the API server keeps it, which writes JSON without spaces."""
    return len(json.dumps(thing, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def too_large(status: int, message: str, body: t.Any) -> str:
    """Return in words what was too large, and the limit, if that is why the API server refused a request; else "".

    Args:
        status: of its answer.
        message: the words of the answer.
        body: what was sent.
    """
    if _ANNOTATIONS.search(message):
        return f"the annotations of an object have room for {ANNOTATIONS_BYTES} bytes"
    if status == 413:
        return f"it has {size_of(body)} bytes, more than the API server takes{ADVICE}"
    if any(words in message for words in _WORDS):
        limit = f"etcd takes {ETCD_BYTES} in one request, unless it is told otherwise"
        return f"it has {size_of(body)} bytes, and {limit}{ADVICE}"
    return ""
