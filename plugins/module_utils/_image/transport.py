# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Talk to a registry, with python-dxf. Slow to import: only a look-up that asks a registry imports this."""

from __future__ import annotations

import email.utils
import io
import json
import ssl
import time
import typing as t
from urllib.parse import urlsplit

from .credentials import Credential
from .registry import Cause, RegistryFailure

try:
    import dxf
    import dxf.exceptions
    import requests
    import requests.adapters
    import urllib3.exceptions
    import urllib3.util.ssl_

    DXF: t.Any = dxf.DXF
    HTTPAdapter: t.Any = requests.adapters.HTTPAdapter
except ImportError:  # a module says so before it comes to this
    DXF = HTTPAdapter = object

# Seconds to connect.
CONNECT_TIMEOUT = 3.0
# The OCI distribution specification lets registries refuse a manifest of more than 4 MiB; a configuration has about
# the same size.
MAX_BYTES = 4 * 1024 * 1024

# OpenSSL's numbers for a certificate whose issuer is not known, which one more CA can mend.
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)


class Repository:
    """One repository at one endpoint, asked as one user or as nobody. A context manager, which closes the connections.

    Every method raises RegistryFailure.

    Args:
        url: the endpoint: http(s)://HOST[:PORT].
        repository: the image's name without registry and tag.
        credential: whom to be where the registry asks. It is sent to the registry, and to the server of tokens that
            the registry names, each over TLS alone.
        ca_file: certificates (PEM) of CAs to trust beside the usual ones.
        deadline: when to give up, as time.monotonic() counts.
    """

    def __init__(
        self, url: str, repository: str, credential: Credential | None, ca_file: str | None, deadline: float
    ) -> None:
        self._parts = urlsplit(url)
        self._credential = credential
        self._began = time.monotonic()
        insecure = self._parts.scheme == "http"
        # A mirror without TLS may send one on to a place with TLS.
        self._session = _session(ca_file, deadline)
        self._dxf = _Dxf(self._parts.netloc, repository, self._authenticate, insecure=insecure)
        self._dxf.use(self._session)

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def digest_of(self, reference: str) -> str | None:
        """Return the digest that a tag stands for now; None where the registry does not tell."""
        try:
            digest: str | None = self._do(lambda: self._dxf.head_manifest_and_response(reference)[0])
        except RegistryFailure as failure:
            # Some registries know no HEAD.
            if failure.cause is Cause.OTHER:
                return None
            raise
        return digest

    def manifest(self, reference: str) -> bytes:
        """Return the manifest or index under a tag or a digest, as it was stored."""
        content: bytes = self._do(lambda: self._dxf.get_manifest_and_response(reference)[1].content)
        return content

    def blob(self, digest: str) -> bytes:
        """Return a blob, checked against its digest."""
        content: bytes = self._do(lambda: b"".join(self._dxf.pull_blob(digest)))
        return content

    def _authenticate(self, registry: dxf.DXFBase, response: requests.Response) -> None:
        """Answer the registry's question who asks; dxf calls this on HTTP 401."""
        challenge = response.headers.get("www-authenticate", "")
        if self._parts.scheme == "http":
            raise RegistryFailure(Cause.OTHER, "it asks for credentials, which are sent over TLS only")
        if self._credential is None and not challenge.lower().startswith("bearer"):
            return
        user = (self._credential.username, self._credential.password) if self._credential else (None, None)
        try:
            registry.authenticate(*user, response=response)
        except (KeyError, IndexError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise RegistryFailure(Cause.OTHER, "its way to ask for credentials makes no sense") from error

    def _do(self, work: t.Callable[[], t.Any]) -> t.Any:
        try:
            return work()
        except RegistryFailure:
            raise
        except Exception as error:
            raise explain(error, time.monotonic() - self._began) from error


class _Dxf(DXF):  # type: ignore[misc]
    """dxf's client, on a session of ours."""

    def use(self, session: requests.Session) -> None:
        """Send requests through the session; dxf itself makes its own, without a place for a CA of ours."""
        self._sessions = [session]


class _Adapter(HTTPAdapter):  # type: ignore[misc]
    """Trusts one more bundle of CAs, gives up at the deadline, and takes no more than MAX_BYTES of an answer."""

    def __init__(self, ca_file: str | None, deadline: float) -> None:
        self._ca_file = ca_file
        self._deadline = deadline
        super().__init__()

    def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().init_poolmanager(*args, **self._trust(kwargs))

    def proxy_manager_for(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return super().proxy_manager_for(*args, **self._trust(kwargs))

    def send(self, request: t.Any, **kwargs: t.Any) -> requests.Response:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise requests.Timeout()
        kwargs |= {"timeout": (min(CONNECT_TIMEOUT, left), left), "stream": True}
        response = super().send(request, **kwargs)
        try:
            content = response.raw.read(MAX_BYTES + 1, decode_content=True)
        finally:
            response.raw.close()
        if len(content) > MAX_BYTES:
            raise RegistryFailure(Cause.OTHER, f"it sends more than {MAX_BYTES // 1024**2} MiB for a manifest")
        response.raw = io.BytesIO(content)
        return response

    def _trust(self, kwargs: dict[str, t.Any]) -> dict[str, t.Any]:
        if self._ca_file:
            # The context begins with no CA at all; requests adds its own usual ones to it.
            context = urllib3.util.ssl_.create_urllib3_context()
            try:
                context.load_verify_locations(cafile=self._ca_file)
            except (OSError, ssl.SSLError) as error:
                words = f"the CA certificates in {self._ca_file} can't be used: {error.strerror or error}"
                raise RegistryFailure(Cause.UNTRUSTED, words) from error
            kwargs["ssl_context"] = context
        return kwargs


def _session(ca_file: str | None, deadline: float) -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(ca_file, deadline))
    # Without an authentication of its own, requests takes one from ~/.netrc.
    session.auth = lambda request: request
    return session


def explain(error: Exception, seconds: float) -> RegistryFailure:
    """Return what went wrong at a registry, in a few words that hold nothing of what was sent.

    What is no failure of a registry is raised again. ``seconds`` is for how long it has been asked.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return _of_status(response)
    for kind, cause, words in _kinds():
        if isinstance(error, kind):
            return RegistryFailure(cause, words)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return RegistryFailure(Cause.TIMEOUT, f"no answer within {max(1, round(seconds))} s")
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
        return _of_connection(error)
    if isinstance(error, requests.RequestException | dxf.exceptions.DXFError | ValueError):
        return RegistryFailure(Cause.OTHER, f"its answer makes no sense ({type(error).__name__})")
    raise error


def _kinds() -> tuple[tuple[t.Any, Cause, str], ...]:
    digest = "its image's configuration does not have the digest it should"
    return (
        (dxf.exceptions.DXFUnauthorizedError, Cause.DENIED, "HTTP 401"),
        (dxf.exceptions.DXFDigestMismatchError, Cause.OTHER, digest),
        (requests.ConnectTimeout, Cause.TIMEOUT, f"no connection within {CONNECT_TIMEOUT:g} s"),
    )


def _of_status(response: requests.Response) -> RegistryFailure:
    status = response.status_code
    said = f"HTTP {status} {response.reason or ''}".rstrip()
    if status in (401, 403):
        return RegistryFailure(Cause.DENIED, f"HTTP {status}")
    if status == 404:
        return RegistryFailure(Cause.MISSING, f"it has no such image or tag ({said})")
    if status == 429:
        seconds = retry_after(response.headers.get("Retry-After"), time.time())
        wait = f", and asks to wait {seconds:g} s" if seconds is not None else ""
        return RegistryFailure(Cause.BUSY, f"it limits how often it may be asked ({said}){wait}", seconds)
    return RegistryFailure(Cause.OTHER, said)


def retry_after(value: str | None, now: float) -> float | None:
    """Return how many seconds a Retry-After header asks to wait: it holds a number of them, or a date (RFC 9110)."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, round(email.utils.parsedate_to_datetime(value).timestamp() - now))
    except (TypeError, ValueError):
        return None


def _of_connection(error: Exception) -> RegistryFailure:
    """Look for what is at the bottom of a failed connection."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            kind = Cause.UNTRUSTED if cause.verify_code in UNKNOWN_ISSUER else Cause.UNREACHABLE
            return RegistryFailure(kind, f"its TLS certificate is not trusted ({cause.verify_message})")
        if isinstance(cause, ssl.SSLError):
            return RegistryFailure(Cause.UNREACHABLE, f"no TLS connection ({cause.reason or 'unknown'})")
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return RegistryFailure(Cause.UNREACHABLE, f"no connection ({cause.strerror or cause})")
    return RegistryFailure(Cause.UNREACHABLE, f"no connection ({type(error).__name__})")


def _causes(error: BaseException) -> t.Iterator[BaseException]:
    """Yield the exception and those that it comes of; urllib3 and requests keep theirs in different places."""
    waiting: list[t.Any] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
