"""What a run of several resources says of each: the ``resources`` in its modules' results.

Any module's result, failed or not, may hold ``resources``, a list of ``{name, namespace, failed, msg, requeue_after}``
(``msg`` and ``requeue_after`` may be left out). One that failed may have ``alone: true``: nothing is wrong with it, it
needs a run of its own. Lists of anything else under that name are left alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskflow_controller.durations import seconds_or_none

MAX_MESSAGE = 2000


@dataclass(frozen=True)
class ResourceResult:
    """How a run ended for one of its resources; ``requeue_after`` is in seconds.

    ``alone``: it was left out, for it needs a run of its own.
    """

    failed: bool
    message: str
    requeue_after: float | None
    alone: bool = False


class ResourceResults:
    """Takes a run's results as they come; not thread-safe, one per run.

    The last result that names a resource counts. A task that fails ends the run, so a success that an earlier
    task told counts no more then, unless the failed task names that resource, too.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], ResourceResult] = {}

    def note(self, result: Mapping[str, Any]) -> None:
        """Take the result of a task."""
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
        """Take the result of a task that failed."""
        self._results = self._failed()
        self.note(result)

    def final(self, *, broke_off: bool) -> dict[tuple[str, str], ResourceResult]:
        """Return them by (namespace, name); of a run that broke off only the failures."""
        return self._failed() if broke_off else dict(self._results)

    def _failed(self) -> dict[tuple[str, str], ResourceResult]:
        return {key: result for key, result in self._results.items() if result.failed}


def _entries(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a result, or the results of a loop's items, say of resources."""
    for part in (result, *_listed(result, "results")):
        for entry in _listed(part, "resources"):
            if isinstance(entry.get("name"), str) and isinstance(entry.get("failed"), bool):
                yield entry


def _listed(result: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = result.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
