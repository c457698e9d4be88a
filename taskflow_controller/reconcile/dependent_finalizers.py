"""Takes the finalizers off dependents whose owner is gone: no playbook runs any more that could do it.

A playbook may put a finalizer on what it makes for a resource. If the watches file names it, it goes as soon as no
owner of the watched kind is left, or each of them is being deleted. The stores only say where to look: before a
finalizer goes, the API server itself is asked, as Kubernetes' garbage collector does.
"""

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import plain_cause
from taskflow_controller.kube.informers import Change
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name
from taskflow_controller.kube.objects import Objects, Patience
from taskflow_controller.kube.selectors import parse_selector
from taskflow_controller.kube.store import Store
from taskflow_controller.kube.work_queue import WorkQueue
from taskflow_controller.reconcile.finalizers import finalizers_of, removal
from taskflow_controller.triggers.ownership import OwnerName, names_any_owner, owner_names

logger = logging.getLogger(__name__)

SYNC_SECONDS = 1.0  # until the next look at whether the owners' first list is there
# How long an object that names no owner keeps its finalizer: who made it may put its owner back.
OWNERLESS_SECONDS = 60.0


@dataclass(frozen=True)
class Rule:
    """A finalizer on the dependents of a kind.

    Attributes:
        finalizer: its name.
        gvk: the dependents' kind.
        owner_gvk: the owners' kind.
        owners: the known owners.
        synced: returns whether ``owners`` is complete.
        dependents: the known dependents.
        selector: selects the dependents that can be known; "" where all can.
        namespaces: those that are watched; none for all.
    """

    finalizer: str
    gvk: GroupVersionKind
    owner_gvk: GroupVersionKind
    owners: Store
    synced: Callable[[], bool]
    dependents: Store = field(default_factory=Store)
    selector: str = ""
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """A dependent that has the finalizer of a rule, by the rule's place in the list of rules."""

    rule: int
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Search:
    """The search, once after the start, for the dependents of a rule that its selector does not select.

    Somebody may take the labels off a dependent, and delete its owner, while no controller runs.
    """

    rule: int


class DependentFinalizers:
    """Finds dependents without an owner, and takes their finalizers off. Thread-safe.

    What an informer reports only goes into a queue; a thread of its own talks to the API server, and tries again later
    what fails.

    Args:
        objects: reads and changes objects on the API server.
        ownerless_seconds: how long an object that names no owner keeps its finalizer.
    """

    def __init__(self, objects: Objects, ownerless_seconds: float = OWNERLESS_SECONDS) -> None:
        self._objects, self._ownerless_seconds = objects, ownerless_seconds
        self._rules: list[Rule] = []
        self._by_owner: dict[str, set[Held]] = {}  # by the owner's UID
        self._lock = threading.Lock()  # of _by_owner
        self._ownerless: set[Held] = set()  # only the thread uses it
        self._queue: WorkQueue[Held | Search, str] = WorkQueue()
        self._thread = threading.Thread(target=self._work, name="dependent-finalizers", daemon=True)

    def add(self, rule: Rule) -> Callable[[Change], None]:
        """Keep to a rule from now on, and return what is to be called with each change of its dependents."""
        self._rules.append(rule)
        number = len(self._rules) - 1
        return lambda change: self._dependent_changed(number, change)

    def owner_changed(self, change: Change) -> None:
        """Look at the dependents of an owner that is gone, or being deleted."""
        uid = _uid_of(change.new or change.old or {})
        with self._lock:
            if change.new is None:
                held = self._by_owner.pop(uid, set())
            else:
                held = set(self._by_owner.get(uid, ())) if _is_being_deleted(change.new) else set()
        for each in held:
            self._queue.add(each, "its owner is gone")

    def start(self) -> None:
        """Begin to take finalizers off, if there are rules."""
        for number, rule in enumerate(self._rules):
            if rule.selector:
                self._queue.add(Search(number), "the controller starts")
        if self._rules:
            self._thread.start()

    def shut_down(self) -> None:
        """Begin nothing more. Does not wait."""
        self._queue.shut_down()

    def problem(self) -> str | None:
        """Return the name of the thread if it was started and has ended, else None."""
        has_ended = self._thread.ident is not None and not self._thread.is_alive()
        return self._thread.name if has_ended else None

    def _dependent_changed(self, number: int, change: Change) -> None:
        # One that is no longer selected, but has the finalizer, may still be there.
        rule, last = self._rules[number], change.new or change.old or {}
        before = _owner_uids(rule, change.old) if change.old and _is_held(rule, change.old) else set()
        if not _is_held(rule, last) and not before:
            return
        self._found(Held(number, *namespace_and_name(last), _uid_of(last)), before, last)

    def _found(self, held: Held, before: set[str], obj: Object) -> None:
        """Note the owners of a dependent, and have it looked at if none of them is known.

        Args:
            held: the dependent.
            before: the UIDs of its owners as far as they were noted.
            obj: the dependent as it is, or was at last.
        """
        rule = self._rules[held.rule]
        is_held = _is_held(rule, obj)
        # The index first: an owner that goes from here on finds it there.
        self._index(held, before, _owner_uids(rule, obj) if is_held else set())
        if is_held and not self._is_known_owned(rule, obj):
            self._queue.add(held, "no owner is known")

    def _index(self, held: Held, before: set[str], after: set[str]) -> None:
        with self._lock:
            for uid in before - after:
                dependents = self._by_owner.get(uid, set())
                dependents.discard(held)
                if not dependents:
                    self._by_owner.pop(uid, None)
            for uid in after:
                self._by_owner.setdefault(uid, set()).add(held)

    def _is_known_owned(self, rule: Rule, obj: Object) -> bool:
        """Return whether the store has an owner that stays."""
        for owner in owner_names(obj, rule.owner_gvk):
            stored = rule.owners.stored(owner.namespace, owner.name)
            if stored and owner.uid in ("", stored.uid) and not stored.deleting:
                return True
        return False

    def _work(self) -> None:
        while (items := self._queue.get()) is not None:
            key = items[0].key
            try:
                if isinstance(key, Search):
                    self._search(key)
                else:
                    self._process(key)
            except (ApiException, urllib3.exceptions.HTTPError) as exc:
                self._try_again(key, plain_cause(exc))
            except Exception as exc:  # a bug in handling one object must not stop the others
                logger.exception("bug: a dependent's finalizer was not handled")
                self._try_again(key, str(exc))
            finally:
                self._queue.done(key)

    def _try_again(self, key: Held | Search, cause: str) -> None:
        delay = self._queue.add_rate_limited(key, "it failed")
        rule = self._rules[key.rule]
        if isinstance(key, Search):
            text = "could not search for %s objects with the finalizer %s, will try again in %.3g s: %s"
            logger.warning(text, rule.gvk.kind, rule.finalizer, delay, cause)
        else:
            text = "could not take the finalizer %s off %s %s/%s, will try again in %.3g s: %s"
            logger.warning(text, rule.finalizer, rule.gvk.kind, key.namespace, key.name, delay, cause)

    def _search(self, search: Search) -> None:
        rule = self._rules[search.rule]
        for namespace in rule.namespaces or (None,):
            for obj in self._objects.metadata_of_all(rule.gvk, namespace):
                if self._is_of(search.rule, obj):
                    self._found(Held(search.rule, *namespace_and_name(obj), _uid_of(obj)), set(), obj)
        self._queue.forget(search)

    def _is_of(self, number: int, obj: Object) -> bool:
        """Return whether an object is held by a rule. Another rule may have the same finalizer."""
        rule = self._rules[number]
        if not _is_held(rule, obj) or any(map(functools.partial(_selects, obj=obj), self._others(rule))):
            return False
        return bool(_owners_of(rule, obj)) or not names_any_owner(obj)

    def _others(self, rule: Rule) -> list[Rule]:
        """Return the other rules for the same finalizer on the same kind."""
        same = (rule.finalizer, rule.gvk)
        return [other for other in self._rules if other is not rule and (other.finalizer, other.gvk) == same]

    def _process(self, held: Held) -> None:
        rule = self._rules[held.rule]
        known = rule.dependents.get(held.namespace, held.name)
        if known and _uid_of(known) == held.uid and self._is_known_owned(rule, known):
            self._forget(held)
            return
        if not rule.synced():
            self._queue.add_after(held, SYNC_SECONDS, "the owners are not known yet")
            return
        obj = self._objects.find(rule.gvk, held.namespace, held.name)
        if obj is None or _uid_of(obj) != held.uid or not _is_held(rule, obj):
            self._forget(held)
        elif owners := _owners_of(rule, obj):
            if not any(self._is_there(rule, owner) for owner in owners):
                self._take_off(rule, obj)
            self._forget(held)
        elif held in self._ownerless:
            self._take_off(rule, obj)
            self._forget(held)
        else:
            self._ownerless.add(held)
            self._queue.add_after(held, self._ownerless_seconds, "it names no owner")

    def _forget(self, held: Held) -> None:
        self._ownerless.discard(held)
        self._queue.forget(held)

    def _is_there(self, rule: Rule, owner: OwnerName) -> bool:
        """Return whether the API server has an owner, and it stays."""
        found = self._objects.find(rule.owner_gvk, owner.namespace, owner.name)
        return found is not None and owner.uid in ("", _uid_of(found)) and not _is_being_deleted(found)

    def _take_off(self, rule: Rule, obj: Object) -> None:
        self._objects.change(rule.gvk, obj, lambda known: removal(known, rule.finalizer), Patience(0))
        namespace, name = namespace_and_name(obj)
        text = "took the finalizer %s off %s %s/%s, because it has no %s any more"
        logger.info(text, rule.finalizer, rule.gvk.kind, namespace, name, rule.owner_gvk.kind)


def _owners_of(rule: Rule, obj: Object) -> list[OwnerName]:
    """Return the owners of the rule's kind that an object names.

    Each is named once, with the object's namespace if it has one: the path of a cluster-scoped owner ignores it.
    """
    named: dict[tuple[str, str], OwnerName] = {}
    for owner in owner_names(obj, rule.owner_gvk):
        named.setdefault((owner.uid or owner.namespace, owner.name), owner)
    return list(named.values())


def _owner_uids(rule: Rule, obj: Object) -> set[str]:
    return {owner.uid for owner in owner_names(obj, rule.owner_gvk)}


def _is_held(rule: Rule, obj: Object) -> bool:
    return rule.finalizer in finalizers_of(obj)


def _selects(rule: Rule, obj: Object) -> bool:
    matches = parse_selector(rule.selector)
    return matches is None or matches((obj.get("metadata") or {}).get("labels") or {})


def _is_being_deleted(obj: Object) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def _uid_of(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("uid") or ""
