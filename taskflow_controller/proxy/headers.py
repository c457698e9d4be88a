"""Which headers go through, by RFC 9110: those about one connection end at the proxy. Pure functions."""

from collections.abc import Iterable
from urllib.parse import SplitResult

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip
# The proxy's own: it answers "Expect" itself, and the client's credentials are for the proxy alone.
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
    """Return a header's first value as it is, b"" if there is none."""
    return next((content for header, content in headers if header.lower() == name), b"")


def upgrade_of(headers: Headers) -> bytes:
    """Return the protocol a request wants to change to, b"" for none."""
    return value(headers, b"upgrade") if b"upgrade" in values(headers, b"connection") else b""


def end_to_end(headers: Headers) -> Headers:
    """Return the headers without those that concern one connection only.

    The length of the body is not one of them, whatever ``Connection`` says; but beside a transfer encoding it says
    nothing, and who read it there would see the message end elsewhere.
    """
    dropped = _HOP_BY_HOP.union(values(headers, b"connection")) - {b"content-length"}
    if values(headers, b"transfer-encoding"):
        dropped.add(b"content-length")
    return [(name, content) for name, content in headers if name.lower() not in dropped]


def for_upstream(headers: Headers, server: SplitResult, credentials: Headers) -> Headers:
    """Return a request's headers as the API server is to get them, with the controller's own credentials."""
    passed = [(name, content) for name, content in end_to_end(headers) if name.lower() not in _NOT_FORWARDED]
    framing = [(b"Transfer-Encoding", b"chunked")] if b"chunked" in values(headers, b"transfer-encoding") else []
    upgrade = upgrade_of(headers)
    if upgrade:
        framing += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    return [(b"Host", server.netloc.encode()), *passed, *framing, *credentials]


def replaced(headers: Headers, new: dict[bytes, bytes]) -> Headers:
    """Return the headers with ``new`` in place of those of the same names, in any case."""
    names = {name.lower() for name in new}
    if b"content-length" in names:
        names.add(b"transfer-encoding")
    return [(name, content) for name, content in headers if name.lower() not in names] + list(new.items())


def impersonation(headers: Headers) -> Headers:
    """Return the headers that say on whose behalf a request is made."""
    return [(name, content) for name, content in headers if name.lower().startswith(b"impersonate-")]


def bearer_token(headers: Headers) -> str:
    """Return the bearer token of a request, "" if it has none."""
    scheme, _space, token = value(headers, b"authorization").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
