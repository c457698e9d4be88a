"""Decides for each request of a run: answer it from the cache, add the owner to what it creates, or pass it on."""

import logging
from http import HTTPStatus
from typing import Protocol

import h11

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import Object
from taskflow_controller.proxy.answers import json_answer
from taskflow_controller.proxy.bodies import (
    APPLY_PATCH,
    is_readable,
    media_type,
    objects_in,
    read_answer,
    read_object,
    write_owner,
)
from taskflow_controller.proxy.cache import ReadCache, WatchedKinds
from taskflow_controller.proxy.connection import Connection
from taskflow_controller.proxy.discovery import Discovery
from taskflow_controller.proxy.forward import Forwarder
from taskflow_controller.proxy.headers import impersonation, replaced, upgrade_of, value
from taskflow_controller.proxy.requests import is_long_running, parse_path, split_target
from taskflow_controller.proxy.subject import Session, Subject
from taskflow_controller.triggers.dependents import DependentKind
from taskflow_controller.triggers.ownership import names_owner, owner_names, with_owner

logger = logging.getLogger(__name__)

MAX_BODY = 16 << 20  # the API server accepts 3 MiB
LOOK_BYTES = 8 << 20  # how much of an answer is searched for owners and versions
_READS = {b"GET", b"HEAD"}


class Dependents(WatchedKinds, Protocol):
    """Watches the kinds that playbooks use."""

    def wants(self, watch: Watch, kind: DependentKind) -> bool:
        """Return whether a kind should be watched for a watch, and is not yet."""

    def ensure(self, watch: Watch, kind: DependentKind) -> None:
        """Watch a kind for a watch from now on. Must not block."""


class Handler:
    """Serves the requests of runs if objects get owners or are cached. Use it in the event loop only.

    Args:
        forwarder: passes requests on.
        dependents: watches the kinds that playbooks use.
    """

    def __init__(self, forwarder: Forwarder, dependents: Dependents) -> None:
        self._forwarder, self._dependents = forwarder, dependents
        self._discovery, self._cache = Discovery(forwarder), ReadCache(dependents)

    async def serve(self, request: h11.Request, client: Connection, session: Session) -> None:
        """Serve one request.

        Args:
            request: the head of the request.
            client: sends the request's body, and gets the answer.
            session: the run that the request comes from.

        Raises:
            ProxyError: there is no answer, or the request can't be served.
            ConnectionLostError: the client is gone, or the API server in the middle of its answer.
        """
        subject = await self._subject(request, session)
        if subject is None:
            await self._forwarder.pass_through(request, client)
        elif request.method in _READS:
            await self._read(request, client, subject)
        else:
            await self._write(request, client, subject)

    async def _subject(self, request: h11.Request, session: Session) -> Subject | None:
        """Return what a request is about, or None if it concerns no stored object or the run has no single owner."""
        if session.owner is None or upgrade_of(request.headers.raw_items()) or is_long_running(request):
            return None
        path = parse_path(split_target(request)[0])
        kind = await self._discovery.kind(path) if path else None
        return Subject(session, session.owner, path, kind) if path and kind and kind.stored else None

    async def _read(self, request: h11.Request, client: Connection, subject: Subject) -> None:
        known = self._cache.answer(request, subject)
        if known is not None:
            await client.read_body(MAX_BODY)
            await client.send(*json_answer(HTTPStatus.OK, known, [("X-Cache", "HIT")]))
        elif self._wants(subject):
            answer = await self._forwarder.request(_to_be_read(request), client)
            events, content = await self._forwarder.collect(answer, LOOK_BYTES)
            self._watch_owned(subject, answer.head.status_code, content)
            await self._forwarder.pass_on(answer, client, events)
        else:
            await self._forwarder.pass_through(request, client)

    async def _write(self, request: h11.Request, client: Connection, subject: Subject) -> None:
        body = await self._marked_body(request, client, subject)
        if body is not None:
            request = _with_headers(request, {b"Content-Length": str(len(body)).encode()})
        if not (self._cache.concerns(subject) or self._wants(subject)):
            await self._forwarder.pass_through(request, client, body)
            return
        try:
            answer = await self._forwarder.request(_to_be_read(request), client, body)
            events, content = await self._forwarder.collect(answer, LOOK_BYTES)
        except BaseException:
            self._cache.in_doubt(subject)
            raise
        # Before the client gets the answer, because its next read must show the write.
        self._cache.wrote(subject, request.method, answer.head.status_code, content)
        self._watch_owned(subject, answer.head.status_code, content)
        await self._forwarder.pass_on(answer, client, events)

    async def _marked_body(self, request: h11.Request, client: Connection, subject: Subject) -> bytes | None:
        """Return the body of a request that may create an object, with the owner added if it does create one.

        Return None for any other request, whose body passes as it arrives.
        """
        media = media_type(value(request.headers.raw_items(), b"content-type"))
        applies = request.method == b"PATCH" and media == APPLY_PATCH
        if subject.path.subresource or not (applies or request.method in (b"POST", b"PUT")):
            return None
        if not is_readable(media):
            logger.warning("%s gets no owner: the API proxy can't read a body of type %s", subject.kind.gvk, media)
            return None
        body = await client.read_body(MAX_BODY)
        obj = read_object(media, body)
        if obj is None or obj.get("kind", subject.kind.gvk.kind) != subject.kind.gvk.kind or subject.is_owner(obj):
            return body
        if request.method != b"POST" and not await self._is_to_be_marked(request, subject, obj):
            return body
        self._dependents.ensure(subject.session.watch, subject.dependent_kind)
        marked = with_owner(obj, subject.owner, namespace=subject.path.namespace, namespaced=subject.kind.namespaced)
        return body if marked is obj else write_owner(media, body, obj, marked)

    async def _is_to_be_marked(self, request: h11.Request, subject: Subject, obj: Object) -> bool:
        """Return whether a request that creates or replaces an object creates it, or would remove the owner from it.

        An object that somebody else created gets no owner, because it would be deleted with the owner.
        """
        path, _query = split_target(request)
        status, body = await self._forwarder.fetch(path, impersonation(request.headers.raw_items()))
        if status == HTTPStatus.NOT_FOUND:
            return True
        current = read_answer(body) if status == HTTPStatus.OK else None
        if current is None or not names_owner(current, subject.owner):
            return False
        # If a playbook lists the owners itself, its list stays.
        return "ownerReferences" not in (obj.get("metadata") or {}) or request.method == b"PATCH"

    def _wants(self, subject: Subject) -> bool:
        watch, path = subject.session.watch, subject.path
        return not path.subresource and self._dependents.wants(watch, subject.dependent_kind)

    def _watch_owned(self, subject: Subject, status: int, content: bytes | None) -> None:
        """Watch a kind once an answer shows an object of it that has an owner of the watch's kind.

        Not only when it is created: after a restart of the controller a playbook may find everything in place.
        """
        answer = read_answer(content) if content and 200 <= status <= 299 and self._wants(subject) else None
        objects = objects_in(answer) if answer else ()
        if any(True for obj in objects for _owner in owner_names(obj, subject.session.watch.gvk)):
            self._dependents.ensure(subject.session.watch, subject.dependent_kind)


def _to_be_read(request: h11.Request) -> h11.Request:
    """Return a request whose answer comes uncompressed, so that the proxy can read it."""
    return _with_headers(request, {b"Accept-Encoding": b"identity"})


def _with_headers(request: h11.Request, headers: dict[bytes, bytes]) -> h11.Request:
    changed = replaced(request.headers.raw_items(), headers)
    return h11.Request(method=request.method, target=request.target, headers=changed)
