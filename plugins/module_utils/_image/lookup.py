# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Look up what images run: in the cache, or at their registries, with the Pod's pull secrets and within a few seconds.

What is heavy to import is imported only when a registry is asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
import typing as t
from urllib.parse import urlsplit

from .._contract import Object
from .._errors import FORBIDDEN, TaskError
from .._kube.kind import SECRET, SERVICE_ACCOUNT, Kind, S
from .cache import Endpoints, ImageCache, Refusal, is_digest
from .credentials import Credential, Keyring, matching, read_secret
from .name import ImageConfig, ImageName, endpoint_urls, parse_image
from .registry import DEADLINE, Cause, RegistryFailure, read_image

# Seconds after which a look-up is tried again, where nothing says otherwise, and at most.
RETRY_AFTER, MAX_RETRY_AFTER = 10.0, 3600.0
# With less than so many seconds left, an endpoint is not asked any more: it could not be blamed for being late.
# One that fails to be connected to is blamed when that took longer.
LEAST_TIME = 1.0
# How many registries are asked at the same time.
WORKERS = 8


class PullSecrets(t.Protocol):
    """Where pull secrets are read."""

    def get(self, kind: Kind[S], namespace: str, name: str) -> S | None:
        """Return a Secret or a ServiceAccount; None when there is none.

        Raises:
            TaskError: Forbidden, where it may not be read, and others.
        """


@dataclasses.dataclass(frozen=True)
class LookupSettings:
    """How images are looked up.

    Args:
        mirrors: for a registry's name, the URLs to ask before it, as the nodes' container runtime does.
        architecture: whose image is read where a reference names several.
        ca_file: a bundle of CA certificates (PEM) to trust beside the usual ones.
        cache_dir: where to keep what is found, shared with other processes; None keeps nothing.
    """

    mirrors: t.Mapping[str, t.Sequence[str]]
    architecture: str
    ca_file: str | None = None
    cache_dir: str | None = None


@dataclasses.dataclass
class _Search:
    """The way of one image: who said what so far, who is being asked now, and what came out."""

    image: str
    name: ImageName
    urls: list[str]
    failures: list[tuple[str, RegistryFailure]] = dataclasses.field(default_factory=list)
    asking: str | None = None
    found: ImageConfig | None = None
    crash: BaseException | None = None


def look_up(  # noqa: PLR0917
    cluster: PullSecrets,
    namespace: str,
    service_account: str,
    secret_names: t.Sequence[str],
    images: t.Sequence[str],
    settings: LookupSettings,
) -> dict[str, ImageConfig]:
    """Return what each image runs by itself.

    Takes no longer than DEADLINE for all registries together, however they answer. Pull secrets are read only when
    a registry is to be asked.

    Args:
        cluster: where the pull secrets are read.
        namespace: the Pod's.
        service_account: the Pod's; its pull secrets count when the Pod names none, as Kubernetes' own admission has it.
        secret_names: the pull secrets that the Pod names.
        images: the references, as the Task has them.
        settings: how to look.

    Raises:
        TaskError: InvalidImageName, permanent. All others may go away, and have ``retry_after``: ImageLookupFailed,
            with the image and what each registry said; ImageLookupPending, when another process is asking the same
            registry for the first time; and what the API server answers to the reading of pull secrets, except
            Forbidden.
    """
    names = {image: parse_image(image) for image in images}
    cache = ImageCache(settings.cache_dir)
    known = {image: _cached(cache, name, settings.architecture) for image, name in names.items()}
    found = {image: config for image, config in known.items() if config is not None}
    searches = [
        _Search(image, name, endpoint_urls(name.registry, settings.mirrors))
        for image, name in names.items()
        if image not in found
    ]
    if searches:
        endpoints = Endpoints(settings.cache_dir)
        _refuse_resting(searches, endpoints)
        keyring = _read_keyring(cluster, namespace, service_account, secret_names)
        # Imported this late, for it costs more than all that the cache knows; and before the clock starts.
        from .transport import Repository  # noqa: PLC0415

        asker = _Asker(Repository, endpoints, cache, keyring, settings, time.monotonic() + DEADLINE)
        found |= _search_all(searches, asker)
    return {image: found[image] for image in names}


def is_quick(images: t.Sequence[str], settings: LookupSettings) -> bool:
    """Tell whether a look-up takes no more than a moment, as far as is known.

    It does where the cache knows the image, where the endpoint that is asked first has answered lately, and where
    none may be asked; also where an image's name makes no sense.
    """
    cache, endpoints = ImageCache(settings.cache_dir), Endpoints(settings.cache_dir)

    def is_known(image: str) -> bool:
        try:
            name = parse_image(image)
        except TaskError:
            return True
        urls = [url for url in endpoint_urls(name.registry, settings.mirrors) if endpoints.resting(url) is None]
        return not urls or endpoints.answers(urls[0]) or _cached(cache, name, settings.architecture) is not None

    return all(map(is_known, images))


def _cached(cache: ImageCache, name: ImageName, architecture: str) -> ImageConfig | None:
    return cache.get(name.reference, architecture) if is_digest(name.reference) else None


def _refuse_resting(searches: t.Iterable[_Search], endpoints: Endpoints) -> None:
    """Fail at once where none of an image's endpoints may be asked, for none answered lately.

    Raises:
        TaskError: ImageLookupFailed.
    """
    for search in searches:
        refusals = [(url, endpoints.resting(url)) for url in search.urls]
        failures = [(url, _failure(refusal)) for url, refusal in refusals if refusal is not None]
        if len(failures) == len(refusals):
            raise _error(search.image, failures)


def _failure(refusal: Refusal) -> RegistryFailure:
    return RegistryFailure(Cause.PENDING if refusal.pending else Cause.TIMEOUT, refusal.words, refusal.seconds)


def _read_keyring(cluster: PullSecrets, namespace: str, service_account: str, secret_names: t.Sequence[str]) -> Keyring:
    """Read the Pod's pull secrets. One that is of no use is no failure yet: the registry may not ask for it.

    Raises:
        TaskError: the API server did not answer.
    """
    names, problems = list(secret_names), []
    if not names:
        what = f'ServiceAccount "{service_account}"'
        account, problem = _read(what, cluster, SERVICE_ACCOUNT, namespace, service_account)
        names = [str(entry.get("name") or "") for entry in (account or {}).get("imagePullSecrets") or []]
        problems += problem
    names = list(dict.fromkeys(filter(None, names)))
    credentials: list[Credential] = []
    for name in names:
        secret, problem = _read(f'pull secret "{name}"', cluster, SECRET, namespace, name)
        problems += problem
        if secret is not None:
            more, problem = read_secret(name, secret)
            credentials += more
            problems += problem
    return Keyring(tuple(credentials), tuple(names), tuple(problems))


def _read(
    what: str, cluster: PullSecrets, kind: Kind[Object], namespace: str, name: str
) -> tuple[Object | None, list[str]]:
    """Return an object, or else why there is none."""
    try:
        found = cluster.get(kind, namespace, name)
    except TaskError as error:
        if error.reason != FORBIDDEN:
            error.retry_after = error.retry_after or RETRY_AFTER
            raise
        return None, [f"{what} of namespace {namespace} may not be read by the operator"]
    return found, [] if found is not None else [f"{what} is not there in namespace {namespace}"]


@dataclasses.dataclass(frozen=True)
class _Asker:
    """Asks registries for images. Its methods run in threads."""

    connect: t.Callable[..., t.Any]
    endpoints: Endpoints
    cache: ImageCache
    keyring: Keyring
    settings: LookupSettings
    deadline: float

    def run(self, search: _Search) -> None:
        """Ask the image's endpoints one after the other until one tells, or the time is up."""
        for url in search.urls:
            if self.deadline - time.monotonic() < LEAST_TIME:
                search.failures.append((url, RegistryFailure(Cause.TIMEOUT, "no time was left to ask it")))
                continue
            refusal = self.endpoints.admit(url)
            if refusal is not None:
                search.failures.append((url, _failure(refusal)))
                continue
            search.asking, began = url, time.monotonic()
            try:
                search.found = self._ask(url, search.name)
            except RegistryFailure as failure:
                search.failures.append((url, failure))
                self._note(url, failure, time.monotonic() - began)
            else:
                self.endpoints.answered(url)
                return
            finally:
                search.asking = None

    def _note(self, url: str, failure: RegistryFailure, seconds: float) -> None:
        # A host that is not there may be known only after a while, too.
        if failure.cause is Cause.TIMEOUT or (failure.cause is Cause.UNREACHABLE and seconds > LEAST_TIME):
            self.endpoints.timed_out(url, failure.words)
        else:
            self.endpoints.answered(url)

    def _ask(self, url: str, name: ImageName) -> ImageConfig:
        """Ask one endpoint, as each user that a pull secret has for it until one is let in, or else as nobody.

        Raises:
            RegistryFailure: none was told.
        """
        failures: list[RegistryFailure] = []
        credentials = credentials_for(url, name, self.keyring)
        users: list[Credential | None] = [*credentials] or [None]
        for user in users:
            try:
                return self._ask_as(user, url, name)
            except RegistryFailure as failure:
                # Some registries hide from one user what they show to another.
                if failure.cause not in (Cause.DENIED, Cause.MISSING):
                    raise
                failures.append(failure)
        denied = [failure for failure in failures if failure.cause is Cause.DENIED]
        if denied:
            place = f"{_host(url, name)}/{name.repository}"
            raise RegistryFailure(Cause.DENIED, _denial(denied[0].words, place, credentials, self.keyring))
        raise failures[0]

    def _ask_as(self, user: Credential | None, url: str, name: ImageName) -> ImageConfig:
        with self.connect(url, name.repository, user, self.settings.ca_file, self.deadline) as repository:
            return read_image(repository, name.reference, self.settings.architecture, self.cache)


def _search_all(searches: t.Sequence[_Search], asker: _Asker) -> dict[str, ImageConfig]:
    """Search for all images at once, and give up at the deadline.

    The threads are daemons: one that hangs, be it in the look-up of a host's name, keeps nothing from going on or
    from ending.

    Raises:
        TaskError: an image was not found; the first, in their order.
    """
    waiting: queue.SimpleQueue[_Search] = queue.SimpleQueue()
    done: queue.SimpleQueue[_Search] = queue.SimpleQueue()
    for search in searches:
        waiting.put(search)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                search = waiting.get_nowait()
                try:
                    asker.run(search)
                except Exception as error:
                    search.crash = error
                done.put(search)

    for _number in range(min(WORKERS, len(searches))):
        threading.Thread(target=work, daemon=True).start()
    with contextlib.suppress(queue.Empty):
        for _search in searches:
            done.get(timeout=max(0.0, asker.deadline - time.monotonic()))
    return _results(searches, asker)


def _results(searches: t.Sequence[_Search], asker: _Asker) -> dict[str, ImageConfig]:
    """Return what was found, and blame whoever is being asked still.

    Raises:
        TaskError: an image was not found.
    """
    late = {search.image: search.asking for search in searches}
    for url in set(filter(None, late.values())):
        asker.endpoints.timed_out(url, _no_answer().words)
    asker.endpoints.close()
    for search in searches:
        if search.crash is not None:
            raise search.crash
        if search.found is None:
            blamed = late[search.image]
            failures = [*search.failures, (blamed, _no_answer())] if blamed else search.failures
            raise _error(search.image, failures)
    return {search.image: search.found for search in searches if search.found is not None}


def _no_answer() -> RegistryFailure:
    return RegistryFailure(Cause.TIMEOUT, f"no answer within {DEADLINE:g} s")


def credentials_for(url: str, name: ImageName, keyring: Keyring) -> list[Credential]:
    """Return the credentials to try at an endpoint: a mirror gets only what is for the mirror itself."""
    return matching(keyring.credentials, _host(url, name), name.repository)


def _host(url: str, name: ImageName) -> str:
    """Return the name by which credentials know an endpoint: the registry's own, as in images, or a mirror's host."""
    return name.registry if url == endpoint_urls(name.registry, {})[0] else urlsplit(url).netloc


def _denial(said: str, place: str, credentials: t.Sequence[Credential], keyring: Keyring) -> str:
    """Say why a registry lets nobody in, without a word of what was sent to it."""
    if credentials:
        secrets = _quoted(dict.fromkeys(credential.secret for credential in credentials))
        words = f"it refuses the credentials of pull secret {secrets} ({said})"
    elif keyring.secrets:
        words = f"it asks for credentials ({said}): none of the pull secrets {_quoted(keyring.secrets)} matches {place}"
    else:
        words = f"it asks for credentials ({said}), and neither the Pod nor its ServiceAccount names a pull secret"
    return ", and ".join([words, *keyring.problems])


def _quoted(names: t.Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# What to do, the most telling cause first.
ADVICE = {
    Cause.DENIED: "Check the image's name, for many registries say so of one that is not there, and the pull secrets "
    "in spec.podTemplate.imagePullSecrets or of the ServiceAccount",
    Cause.MISSING: "Check the image's name and tag",
    Cause.BUSY: "Use a pull secret, for registries allow their users more, or a mirror",
    Cause.UNTRUSTED: "Have the registry's CA in the operator's variable taskflow_operator_registry_ca",
    Cause.OTHER: "Check the image and its registry",
    Cause.TIMEOUT: "Check that the operator can reach the registry",
    Cause.UNREACHABLE: "Check the registry's name, and that the operator can reach it",
}


def _error(image: str, failures: t.Sequence[tuple[str, RegistryFailure]]) -> TaskError:
    """Return the error of an image that was not found, made of what each endpoint said."""
    said = "; ".join(f"{urlsplit(url).netloc}: {failure.words}" for url, failure in failures)
    causes = {failure.cause for _url, failure in failures}
    waits = [failure.retry_after for _url, failure in failures if failure.retry_after]
    wait = min(max(waits), MAX_RETRY_AFTER) if waits else RETRY_AFTER
    if Cause.PENDING in causes:
        text = f"the ENTRYPOINT of image {image} is not known yet: {said}; it is tried again"
        return TaskError("ImageLookupPending", text, retry_after=wait)
    text = f"the ENTRYPOINT of image {image} could not be read: {said or _no_answer().words}. "
    advice = next((ADVICE[cause] for cause in ADVICE if cause in causes), ADVICE[Cause.OTHER])
    return TaskError("ImageLookupFailed", f"{text}{advice}; or give the step a command", retry_after=wait)
