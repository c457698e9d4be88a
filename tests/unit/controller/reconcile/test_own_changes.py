"""The controller's own writes start no run, and hide no other's."""

import copy
import dataclasses
import datetime
from collections.abc import Callable

import pytest
from support.api.object_server import WIDGET, ObjectServer

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Finalizer, Watch
from taskflow_controller.kube.kinds import Object
from taskflow_controller.reconcile.conditions import conditions_of, ended
from taskflow_controller.reconcile.own_changes import is_own_change
from taskflow_controller.reconcile.verdicts import Verdict

MANAGED = Watch(
    gvk=WIDGET,
    command=Command(playbook="/p.yml"),
    vars={},
    reconcile_period=None,
    max_runner_artifacts=2,
    snake_case_parameters=True,
    watch_annotations_changes=False,
    dependents=(),
    max_concurrent=None,
    verbosity=None,
)
FINALIZED = dataclasses.replace(MANAGED, manage_status=False, finalizer=Finalizer("a/b", None, {}))
PLAIN = dataclasses.replace(MANAGED, manage_status=False)
ENDING = (Verdict(True, ""), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))


def write_conditions(obj: Object) -> None:
    status = obj.setdefault("status", {})
    status["conditions"] = ended(conditions_of(obj), *ENDING)
    obj["metadata"].update(resourceVersion="2", generation=2, managedFields=[{}])


def add_finalizer(obj: Object) -> None:
    obj["metadata"].update(resourceVersion="2", finalizers=["a/b"])


def change_spec(obj: Object) -> None:
    obj["spec"] = {"a": 1}


def change_status(obj: Object) -> None:
    obj["status"]["mine"] = 2


def change_condition(obj: Object) -> None:
    obj["status"]["conditions"] = [{"type": "Ready", "status": "True"}]


def change_label(obj: Object) -> None:
    obj["metadata"]["labels"] = {"a": "b"}


@pytest.mark.parametrize(("watch", "write"), [(MANAGED, write_conditions), (FINALIZED, add_finalizer)])
def test_own(watch: Watch, write: Callable[[Object], None]) -> None:
    old = ObjectServer().seen()
    new = copy.deepcopy(old)
    write(new)
    assert is_own_change(watch, old, new)
    assert not is_own_change(PLAIN, old, new) and not is_own_change(watch, None, new)
    for other in (change_spec, change_status, change_condition, change_label):
        both = copy.deepcopy(new)
        other(both)
        assert not is_own_change(watch, old, both), other


def test_a_first_status_of_our_own() -> None:
    old: Object = {"metadata": {}, "spec": {}}
    new = copy.deepcopy(old)
    write_conditions(new)
    assert is_own_change(MANAGED, old, new)


def test_odd_status() -> None:
    assert not is_own_change(MANAGED, {"metadata": {}, "status": "a"}, {"metadata": {}, "status": "b"})
