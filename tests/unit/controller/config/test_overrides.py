"""A run's settings: annotation over watch over flag, and what a bad annotation comes to."""

from typing import Any

import pytest

from taskflow_controller.config.overrides import Defaults, Overrides, RunSettings, run_settings
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
DEFAULTS = Defaults(reconcile_period=36000.0, verbosity=1, run_timeout=60.0)


def watch(**changes: Any) -> Watch:
    fields: dict[str, Any] = {
        "gvk": WIDGET,
        "command": Command("/p.yml"),
        "vars": {},
        "reconcile_period": None,
        "max_runner_artifacts": 20,
        "snake_case_parameters": True,
        "watch_annotations_changes": False,
        "dependents": (),
        "max_concurrent": None,
        "verbosity": None,
    }
    return Watch(**{**fields, **changes})


def widget(**annotations: str) -> dict[str, Any]:
    prefixed = {f"ansible.sdk.operatorframework.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {"metadata": {"name": "w", "namespace": "ns", "annotations": prefixed}}


@pytest.mark.parametrize(
    ("fields", "obj", "expected"),
    [
        ({}, {"metadata": {"name": "w"}}, RunSettings(36000.0, 20, 1, 60.0)),
        ({}, {"metadata": {"name": "w", "annotations": None}}, RunSettings(36000.0, 20, 1, 60.0)),
        (
            {"reconcile_period": 5.0, "max_runner_artifacts": 3, "verbosity": 4, "run_timeout": 7.0},
            widget(),
            RunSettings(5.0, 3, 4, 7.0),
        ),
        ({"reconcile_period": 0.0, "verbosity": 0, "run_timeout": 0.0}, widget(), RunSettings(0.0, 20, 0, 0.0)),
        (
            {"reconcile_period": 5.0, "max_runner_artifacts": 3, "verbosity": 4},
            widget(reconcile_period="1m30s", max_runner_artifacts="9", verbosity="2"),
            RunSettings(90.0, 9, 2, 60.0),
        ),
        (
            {"reconcile_period": 5.0, "max_runner_artifacts": 3, "verbosity": 4},
            widget(reconcile_period="0", max_runner_artifacts="0", verbosity="0"),
            RunSettings(0.0, 3, 0, 60.0),
        ),
    ],
)
def test_precedence(fields: dict[str, Any], obj: dict[str, Any], expected: RunSettings) -> None:
    assert run_settings(watch(**fields), obj, DEFAULTS) == (expected, ())


@pytest.mark.parametrize(
    ("annotation", "text", "problem"),
    [
        ("reconcile-period", "soon", "'soon' is not a duration such as 10h, 1m30s, 500ms or 0"),
        ("reconcile-period", "-1s", "'-1s' is negative; a duration must be 0 or more"),
        ("reconcile-period", "", "'' is not a duration such as 10h, 1m30s, 500ms or 0"),
        ("max-runner-artifacts", "-1", "'-1' is not a whole number, 0 to 100"),
        ("max-runner-artifacts", "101", "'101' is not a whole number, 0 to 100"),
        ("max-runner-artifacts", "many", "'many' is not a whole number, 0 to 100"),
        ("verbosity", "8", "'8' is not a whole number, 0 to 7"),
        ("verbosity", "1.5", "'1.5' is not a whole number, 0 to 7"),
        ("verbosity", "٣", "'٣' is not a whole number, 0 to 7"),
        ("verbosity", "9" * 9000, f"'{'9' * 40}'... is longer than 40 characters"),
    ],
)
def test_bad_annotation_counts_as_absent(annotation: str, text: str, problem: str) -> None:
    obj = widget(**{annotation: text})
    fields = {"reconcile_period": 5.0, "max_runner_artifacts": 3, "verbosity": 4}
    assert run_settings(watch(**fields), obj, DEFAULTS) == (
        RunSettings(5.0, 3, 4, 60.0),
        (f"annotation ansible.sdk.operatorframework.io/{annotation} is ignored: {problem}",),
    )


def test_bad_annotation_is_logged_once_for_each_value(caplog: pytest.LogCaptureFixture) -> None:
    overrides, key = Overrides(DEFAULTS), ResourceKey(WIDGET, "ns", "w")
    for text in ("x", "x", "y", "y", "1", "x"):
        assert overrides.settings(watch(), key, widget(verbosity=text)).verbosity == 1
    assert [record.getMessage().split()[4] for record in caplog.records] == ["'x'", "'y'", "'x'"]
    assert all(record.resource == "Widget ns/w" for record in caplog.records)  # type: ignore[attr-defined]
    other = ResourceKey(WIDGET, "ns", "other")
    overrides.settings(watch(), other, widget(verbosity="x"))
    overrides.forget(key)
    overrides.settings(watch(), key, widget(verbosity="x"))
    assert len(caplog.records) == 5
