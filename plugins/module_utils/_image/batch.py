# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What images run, for one Task or for many: then none waits for a registry that another one's image needs."""

from __future__ import annotations

import typing as t

from .._errors import Postponed, TaskError
from .lookup import LookupSettings, PullSecrets, is_quick, look_up
from .name import ImageConfig

Configs = dict[str, ImageConfig]

PENDING = "ImageLookupPending"


class Images:
    """Looks images up, with the pull secrets of the Pods that they are for.

    Args:
        cluster: where the pull secrets are read.
        settings: tells how to look; called only when something is looked up.
        for_many: True where other Tasks wait. An image is then looked up only after ``others_are_done()``, and only
            where its registry has answered lately, so that the look-up takes no more than a moment.
    """

    def __init__(self, cluster: PullSecrets, settings: t.Callable[[], LookupSettings], for_many: bool) -> None:
        self._cluster, self._settings, self._for_many = cluster, settings, for_many
        self._others_are_done = False
        # By what was asked: many Tasks may well ask the same.
        self._answers: dict[t.Any, Configs | TaskError] = {}

    def others_are_done(self) -> None:
        """Note that all has been done for those Tasks that need no look-up."""
        self._others_are_done = True

    def configs(
        self, namespace: str, service_account: str, secret_names: t.Sequence[str], images: t.Sequence[str]
    ) -> Configs:
        """Return what each image runs by itself.

        Raises:
            Postponed: it is not the time to ask.
            TaskError: as look_up() has it.
        """
        if not images:
            return {}
        settings = self._settings()
        if not self._for_many:
            return look_up(self._cluster, namespace, service_account, secret_names, images, settings)
        asked = (namespace, service_account, *secret_names, None, *images)
        if asked not in self._answers:
            if not is_quick(images, settings):
                words = f"the registry of {', '.join(images)} has not answered lately: it is asked for this Task alone"
                raise Postponed(PENDING, words, alone=True)
            if not self._others_are_done:
                raise Postponed(PENDING, f"{', '.join(images)} is looked up after the other Tasks are done")
            try:
                self._answers[asked] = look_up(
                    self._cluster, namespace, service_account, secret_names, images, settings
                )
            except TaskError as error:
                self._answers[asked] = error
        answer = self._answers[asked]
        if isinstance(answer, TaskError):
            raise answer
        return answer
