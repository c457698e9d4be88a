# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What the images of one Task run, or those of many: then no Task waits for the registry of another's image."""

from __future__ import annotations

import threading
import time
import typing as t

from . import _image
from ._errors import NotYet
from ._image import ImageConfig
from ._lookup import LookupSettings, PullSecrets, look_up

Configs = dict[str, ImageConfig]

# Seconds that the look-ups of a batch may take together. What is not known by then is asked for by a run of its own.
PATIENCE = 2.0


class _Request(t.NamedTuple):
    """What is asked for. Equal ones, be they of several Tasks, have one answer."""

    namespace: str
    service_account: str
    secret_names: tuple[str, ...]
    images: tuple[str, ...]


class Images:
    """Looks images up, with the pull secrets of the Pods that they are for.

    Args:
        cluster: where the pull secrets are read.
        settings: tells how to look; called only when something is looked up.
        patient: True to wait for each answer, as for a single Task. False for many: each is asked for only by
            wait(), and raises NotYet before that.
    """

    def __init__(self, cluster: PullSecrets, settings: t.Callable[[], LookupSettings], patient: bool) -> None:
        self._cluster, self._settings, self._patient = cluster, settings, patient
        self._answers: dict[_Request, Configs | Exception | None] = {}

    def configs(
        self, namespace: str, service_account: str, secret_names: t.Sequence[str], images: t.Sequence[str]
    ) -> Configs:
        """Return what each image runs by itself.

        Raises:
            NotYet: it is not known yet.
            TaskError: as look_up() has it.
        """
        if not images:
            return {}
        request = _Request(namespace, service_account, tuple(secret_names), tuple(images))
        if self._patient:
            return self._look_up(request)
        answer = self._answers.setdefault(request, None)
        if answer is None:
            words = f"the registry of {', '.join(images)} takes its time; it is asked again for this Task alone"
            raise NotYet("ImageLookupPending", words)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self) -> None:
        """Look up what has been asked for: all registries at once, the images of each one after the other.

        The threads are daemons, so that one that still waits for its registry keeps nothing from ending.
        """
        by_registry: dict[str, list[_Request]] = {}
        for request in self._answers:
            by_registry.setdefault(_registry_of(request), []).append(request)
        threads = [
            threading.Thread(target=self._answer, args=(requests,), daemon=True) for requests in by_registry.values()
        ]
        end = time.monotonic() + PATIENCE
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _answer(self, requests: t.Sequence[_Request]) -> None:
        for request in requests:
            try:
                self._answers[request] = self._look_up(request)
            except Exception as error:  # raised where it is asked for again
                self._answers[request] = error

    def _look_up(self, request: _Request) -> Configs:
        return look_up(self._cluster, *request, self._settings())


def _registry_of(request: _Request) -> str:
    """Return the registry that is asked first; where a name can't be read, whatever tells it from others."""
    try:
        return _image.parse_image(request.images[0]).registry
    except Exception:  # look_up() says what is wrong with it
        return request.images[0]
