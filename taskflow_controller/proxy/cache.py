"""Answers reads from the informers' stores, so that they cost the API server nothing."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

import h11

from taskflow_controller.kube.informers import ResourceInformer, WatchedKind
from taskflow_controller.kube.kinds import GroupVersionKind, version_number
from taskflow_controller.kube.selectors import parse_selector
from taskflow_controller.proxy.bodies import encode, read_answer
from taskflow_controller.proxy.freshness import Freshness
from taskflow_controller.proxy.headers import impersonation, value
from taskflow_controller.proxy.requests import split_target
from taskflow_controller.proxy.subject import Subject

_SELECTING = {"labelSelector", "limit"}
# Errors of a write which show that the cache is behind, or after which the write may have been done nevertheless.
_UNCLEAR = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.REQUEST_TIMEOUT}


class WatchedKinds(Protocol):
    """Knows which kinds are watched."""

    def watched(self, gvk: GroupVersionKind) -> WatchedKind | None:
        """Return a kind's store and informers, or None if it is not watched."""


class ReadCache:
    """Answers those reads of runs to which it makes no difference. Use it in the event loop only."""

    def __init__(self, kinds: WatchedKinds) -> None:
        self._kinds = kinds
        self._freshness: dict[ResourceInformer, Freshness] = {}

    def answer(self, request: h11.Request, subject: Subject) -> bytes | None:
        """Return the answer to a GET as JSON, or None if the API server must give it."""
        query = _plain_query(request)
        if query is None or subject.path.subresource or subject.kind.gvk in subject.session.watch.blacklist:
            return None
        watched = self._kinds.watched(subject.kind.gvk)
        version = self._version(watched, subject) if watched else None
        if watched is None or version is None:
            return None
        if not subject.path.name:
            return _list(watched, subject, version, query)
        if query:
            return None
        # An object that is missing here may have been created a moment ago: return None.
        stored = watched.store.stored(subject.path.namespace, subject.path.name)
        return stored.encoded if stored else None

    def concerns(self, subject: Subject) -> bool:
        """Return whether the outcome of a write matters to the cache."""
        return self._informer(subject) is not None

    def wrote(self, subject: Subject, method: bytes, status: int, body: bytes | None) -> None:
        """Record a write and its answer.

        Args:
            subject: what was written.
            method: the request's method.
            status: the answer's status.
            body: the answer's body; None if it is unknown. If it does not show the new version, the outcome is in
                doubt.
        """
        freshness = self._of(subject)
        answer = read_answer(body) if body else None
        if freshness is None or (400 <= status <= 499 and status not in _UNCLEAR):
            return
        version = version_number((answer.get("metadata") or {}).get("resourceVersion")) if answer else None
        path = subject.path
        if answer is None or not 200 <= status <= 299:
            freshness.in_doubt()
        elif method == b"DELETE" and path.name and not path.subresource:
            freshness.deleted((path.namespace, path.name), answer)
        elif version is None or method == b"DELETE":
            freshness.in_doubt()
        else:
            freshness.wrote(version)

    def in_doubt(self, subject: Subject) -> None:
        """Record a write that may have been done."""
        freshness = self._of(subject)
        if freshness:
            freshness.in_doubt()

    def _version(self, watched: WatchedKind, subject: Subject) -> int | None:
        """Return the version that a kind's store has reached, or None if it shows less than it must."""
        informer = self._informer(subject)
        version = informer.version if informer else None
        if informer is None or version is None:
            return None
        freshness = self._freshness.get(informer)
        if freshness and not freshness.shown_by(watched.store, version):
            return None
        owner_version = version_number(subject.owner["metadata"].get("resourceVersion")) or 0
        if subject.kind.gvk == subject.session.watch.gvk and version < owner_version:
            return None  # the run has a newer state of its resource
        return version

    def _informer(self, subject: Subject) -> ResourceInformer | None:
        watched = self._kinds.watched(subject.kind.gvk)
        if watched is None:
            return None
        return watched.informer_for(subject.path.namespace, namespaced=subject.kind.namespaced)

    def _of(self, subject: Subject) -> Freshness | None:
        informer = self._informer(subject)
        return self._freshness.setdefault(informer, Freshness()) if informer else None


def _list(watched: WatchedKind, subject: Subject, version: int, query: Mapping[str, str]) -> bytes | None:
    matches = parse_selector(query.get("labelSelector", ""))
    limit = query.get("limit", "")
    if matches is None or not (limit.isdigit() or not limit):
        return None
    items = watched.store.select(subject.path.namespace, matches)
    if limit and len(items) > int(limit):
        return None
    gvk = subject.kind.gvk
    head = {"kind": f"{gvk.kind}List", "apiVersion": gvk.api_version, "metadata": {"resourceVersion": str(version)}}
    return encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _plain_query(request: h11.Request) -> dict[str, str] | None:
    """Return the query of a read that a cache can answer, or None for any other request."""
    headers = request.headers.raw_items()
    accepted = value(headers, b"accept").split(b",")[0].strip().lower()
    if request.method != b"GET" or impersonation(headers) or accepted not in (b"", b"*/*", b"application/json"):
        return None
    query = {key: text for key, text in split_target(request)[1].items() if text}
    if query.get("resourceVersion") == "0":
        del query["resourceVersion"]
    return query if query.keys() <= _SELECTING else None
