"""Selects the headers that pass the proxy; by RFC 9110, those about one connection end here. Pure functions."""

from collections.abc import Iterable
from urllib.parse import SplitResult

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip
# These are for the proxy: it answers "Expect" itself, and the client's credentials are only for the proxy.
_NOT_FORWARDED = {b"host", b"authorization", b"expect"}


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the comma-separated values of a header, in lower case."""
    return [
        part.strip().lower()
        for header, value in headers
        if header.lower() == name
        for part in value.split(b",")
        if part.strip()
    ]


def value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """Return a header's first value as it is, or b"" if there is none."""
    return next((content for header, content in headers if header.lower() == name), b"")


def upgrade_of(headers: Headers) -> bytes:
    """Return the protocol that a request wants to switch to, or b"" for none."""
    return value(headers, b"upgrade") if b"upgrade" in values(headers, b"connection") else b""


def end_to_end(headers: Headers) -> Headers:
    """Return the headers without those that concern only one connection.

    Content-Length is not one of those, whatever ``Connection`` says. But next to a Transfer-Encoding it has no meaning,
    and a reader that used it would see the message end elsewhere, so it is dropped, too.
    """
    dropped = _HOP_BY_HOP.union(values(headers, b"connection")) - {b"content-length"}
    if values(headers, b"transfer-encoding"):
        dropped.add(b"content-length")
    return [(name, content) for name, content in headers if name.lower() not in dropped]


def for_upstream(headers: Headers, server: SplitResult, credentials: Headers) -> Headers:
    """Return a request's headers for the API server.

    Args:
        headers: those of the client's request.
        server: the URL of the API server.
        credentials: the headers with the controller's own credentials.
    """
    passed = [(name, content) for name, content in end_to_end(headers) if name.lower() not in _NOT_FORWARDED]
    framing = [(b"Transfer-Encoding", b"chunked")] if b"chunked" in values(headers, b"transfer-encoding") else []
    upgrade = upgrade_of(headers)
    if upgrade:
        framing += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    return [(b"Host", server.netloc.encode()), *passed, *framing, *credentials]


def replaced(headers: Headers, new: dict[bytes, bytes]) -> Headers:
    """Return the headers with ``new`` in place of those with the same names, in upper or lower case."""
    names = {name.lower() for name in new}
    if b"content-length" in names:
        names.add(b"transfer-encoding")
    return [(name, content) for name, content in headers if name.lower() not in names] + list(new.items())


def impersonation(headers: Headers) -> Headers:
    """Return the headers that say on whose behalf a request is made."""
    return [(name, content) for name, content in headers if name.lower().startswith(b"impersonate-")]


def bearer_token(headers: Headers) -> str:
    """Return the bearer token of a request, or "" if it has none."""
    scheme, _space, token = value(headers, b"authorization").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
