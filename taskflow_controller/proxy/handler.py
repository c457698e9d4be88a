"""Decides for each request of a run: mark what it creates as the owner's, have its kind watched, or just pass it on."""

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

import h11

from taskflow_controller.dependents import DependentKind
from taskflow_controller.kinds import Object, namespace_and_name
from taskflow_controller.ownership import names_owner, owner_names, with_owner
from taskflow_controller.proxy.bodies import (
    APPLY_PATCH,
    is_readable,
    media_type,
    objects_in,
    read_answer,
    read_object,
    write_owner,
)
from taskflow_controller.proxy.connection import Connection
from taskflow_controller.proxy.discovery import Discovery, Kind
from taskflow_controller.proxy.forward import Forwarder
from taskflow_controller.proxy.headers import impersonation, replaced, upgrade_of, value
from taskflow_controller.proxy.requests import ResourcePath, is_watch, parse_path, split_target
from taskflow_controller.watches import Watch

logger = logging.getLogger(__name__)

MAX_BODY = 16 << 20  # the API server takes 3 MiB
LOOK_BYTES = 8 << 20  # of an answer, for owners in it


class Dependents(Protocol):
    """Who watches the kinds that plays use."""

    def wants(self, watch: Watch, kind: DependentKind) -> bool:
        """Whether a kind is to be watched for a watch, and is not yet."""

    def ensure(self, watch: Watch, kind: DependentKind) -> None:
        """Watch it from now on. Must not block."""


@dataclass(eq=False)
class Session:
    """A run's right to use the proxy; ``tasks`` serve its connections. A run for several resources has no owner."""

    watch: Watch
    owner: Object | None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True)
class _Subject:
    """What a request is about, for whom."""

    session: Session
    owner: Object
    path: ResourcePath
    kind: Kind

    @property
    def dependent_kind(self) -> DependentKind:
        return DependentKind(self.kind.gvk, self.kind.namespaced, bool(namespace_and_name(self.owner)[0]))

    def is_owner(self, obj: Object) -> bool:
        """Whether an object of this kind is the owner itself."""
        metadata = obj.get("metadata") or {}
        name = self.path.namespace, self.path.name or metadata.get("name")
        return self.kind.gvk == self.session.watch.gvk and name == namespace_and_name(self.owner)


class Handler:
    """Serves the requests of runs. Used in the event loop only."""

    def __init__(self, forwarder: Forwarder, dependents: Dependents | None) -> None:
        """Without ``dependents`` every request passes as it is."""
        self._forwarder, self._dependents = forwarder, dependents
        self._discovery = Discovery(forwarder)

    async def serve(self, request: h11.Request, client: Connection, session: Session) -> None:
        """Serve one request. Raises ProxyError, and ConnectionLostError if the client is gone."""
        subject = await self._subject(request, session)
        if subject is None or self._dependents is None:
            await self._forwarder.pass_on(await self._forwarder.request(request, client), client)
            return
        body = await self._marked_body(request, client, subject)
        if body is not None:
            request = _with_headers(request, {b"Content-Length": str(len(body)).encode()})
        if self._dependents.wants(session.watch, subject.dependent_kind):
            # What is compressed can't be looked into.
            request = _with_headers(request, {b"Accept-Encoding": b"identity"})
            answer = await self._forwarder.request(request, client, body)
            events, content = await self._forwarder.collect(answer, LOOK_BYTES)
            if content is not None and 200 <= answer.head.status_code <= 299:
                self._watch_owned(subject, content)
            await self._forwarder.pass_on(answer, client, events)
        else:
            await self._forwarder.pass_on(await self._forwarder.request(request, client, body), client)

    async def _subject(self, request: h11.Request, session: Session) -> _Subject | None:
        """Return what a request is about, None if it has to do with no stored object."""
        if session.owner is None or upgrade_of(request.headers.raw_items()) or is_watch(request):
            return None
        path = parse_path(split_target(request)[0])
        if path is None or path.subresource:
            return None
        kind = await self._discovery.kind(path)
        return _Subject(session, session.owner, path, kind) if kind and kind.stored else None

    async def _marked_body(self, request: h11.Request, client: Connection, subject: _Subject) -> bytes | None:
        """Return the body of a request that may create an object, with its owner in it if it does.

        None: it is none of these, its body is to pass as it comes.
        """
        media = media_type(value(request.headers.raw_items(), b"content-type"))
        if request.method not in (b"POST", b"PUT") and (request.method, media) != (b"PATCH", APPLY_PATCH):
            return None
        if not is_readable(media):
            logger.warning("%s gets no owner: its body is %s", subject.kind.gvk, media)
            return None
        body = await client.read_body(MAX_BODY)
        obj = read_object(media, body)
        if obj is None or obj.get("kind", subject.kind.gvk.kind) != subject.kind.gvk.kind or subject.is_owner(obj):
            return body
        if request.method != b"POST" and not await self._is_to_be_marked(request, subject, obj):
            return body
        if self._dependents:
            self._dependents.ensure(subject.session.watch, subject.dependent_kind)
        marked = with_owner(obj, subject.owner, namespace=subject.path.namespace, namespaced=subject.kind.namespaced)
        return body if marked is obj else write_owner(media, body, obj, marked)

    async def _is_to_be_marked(self, request: h11.Request, subject: _Subject, obj: Object) -> bool:
        """Whether a request that creates or replaces does the one, or would take away the owner that is there.

        What somebody else created does not become the owner's, for it would be deleted with it.
        """
        path, _ = split_target(request)
        status, body = await self._forwarder.fetch(path, impersonation(request.headers.raw_items()))
        if status == HTTPStatus.NOT_FOUND:
            return True
        current = read_answer(body) if status == HTTPStatus.OK else None
        if current is None or not names_owner(current, subject.owner):
            return False
        # A play that lists the owners itself means it.
        return "ownerReferences" not in (obj.get("metadata") or {}) or request.method == b"PATCH"

    def _watch_owned(self, subject: _Subject, content: bytes) -> None:
        """Have a kind watched once an object of it is seen that has an owner of the watch's kind.

        Not only when it is created: after a restart of the controller a play may find all in place.
        """
        gvk = subject.session.watch.gvk
        answer = read_answer(content)
        if answer is None or self._dependents is None:
            return
        if any(True for obj in objects_in(answer) for _ in owner_names(obj, gvk)):
            self._dependents.ensure(subject.session.watch, subject.dependent_kind)


def _with_headers(request: h11.Request, headers: dict[bytes, bytes]) -> h11.Request:
    changed = replaced(request.headers.raw_items(), headers)
    return h11.Request(method=request.method, target=request.target, headers=changed)
