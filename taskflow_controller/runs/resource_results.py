"""The results of single resources in a run for several: the ``resources`` in its modules' results.

Any module's result, failed or not, may have ``resources``, a list of ``{name, namespace, failed, msg, requeue_after}``
(``msg`` and ``requeue_after`` are optional). A failed one may have ``alone: true``: nothing is wrong with it, but it
needs a run of its own. Lists with other content under that name are ignored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskflow_controller.durations import seconds_or_none

MAX_MESSAGE = 2000


@dataclass(frozen=True)
class ResourceResult:
    """How a run ended for one of its resources.

    Attributes:
        failed: whether it failed for this resource.
        message: why.
        requeue_after: in how many seconds a module wants the next run; None for no such run.
        alone: whether it was left out because it needs a run of its own.
    """

    failed: bool
    message: str
    requeue_after: float | None
    alone: bool = False


class ResourceResults:
    """Collects the results of one run as they come. Not thread-safe.

    The last result that names a resource counts. A task that fails ends the run, so a success that an earlier task
    reported does not count then, unless the failed task names that resource, too.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], ResourceResult] = {}

    def note(self, result: Mapping[str, Any]) -> None:
        """Take the result of a task that did not fail, or whose failure is ignored."""
        for entry in _entries(result):
            key = (str(entry.get("namespace") or ""), entry["name"])
            known = self._results.get(key)
            waits = (seconds_or_none(entry.get("requeue_after")), known.requeue_after if known else None)
            self._results[key] = ResourceResult(
                failed=entry["failed"],
                message=str(entry.get("msg") or "no message")[:MAX_MESSAGE] if entry["failed"] else "",
                requeue_after=min((wait for wait in waits if wait is not None), default=None),
                alone=entry["failed"] and entry.get("alone") is True,
            )

    def note_failed_task(self, result: Mapping[str, Any]) -> None:
        """Take the result of a task whose failure ends the run."""
        self._results = self._failed()
        self.note(result)

    def final(self, *, broke_off: bool) -> dict[tuple[str, str], ResourceResult]:
        """Return the results by (namespace, name). If the run broke off, return only the failures."""
        return self._failed() if broke_off else dict(self._results)

    def _failed(self) -> dict[tuple[str, str], ResourceResult]:
        return {key: result for key, result in self._results.items() if result.failed}


def _entries(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the entries about resources in a result, and in the results of a loop's items."""
    for part in (result, *_listed(result, "results")):
        for entry in _listed(part, "resources"):
            if isinstance(entry.get("name"), str) and isinstance(entry.get("failed"), bool):
                yield entry


def _listed(result: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = result.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
