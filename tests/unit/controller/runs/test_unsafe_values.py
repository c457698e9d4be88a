"""What real Ansible makes of a resource's values that look like templates, marked and not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.extra_vars import extra_vars
from taskflow_controller.runs.runner import AnsibleRunner, Runner, RunRequest
from taskflow_controller.runs.warm.starter import WarmStarter
from taskflow_controller.runs.workspace import Workspaces

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
TEMPLATE = "{{ 7 * 7 }}"
SPEC: dict[str, Any] = {
    "plain": TEMPLATE,
    "nested": [{"{{ 1 + 1 }}": TEMPLATE}],
    "block": "{% if true %}yes{% endif %}{# no #}",
    "number": 3,
    "forged": {"__ansible_unsafe": {"no": "string"}, "__ansible_vault": 1, "inside": TEMPLATE},
}
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.template: {src: seen.j2, dest: "{{ out }}"}
"""
SEEN = """
{{ {"plain": plain, "nested": nested, "block": block, "number": number, "inside": forged.inside,
    "object": _example_com_widget.spec.plain, "spec": _example_com_widget_spec.plain,
    "meta": ansible_operator_meta, "indirect": indirect} | to_json }}
"""


@pytest.fixture(params=["cold", "warm"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Both ways to run."""
    if request.param == "cold":
        yield AnsibleRunner()
        return
    warm = WarmStarter()
    yield AnsibleRunner(warm)
    assert warm.problem() is None
    warm.stop()


def seen(runner: Runner, tmp_path: Path, *, mark_unsafe: bool) -> dict[str, Any]:
    """What a playbook sees of the values of a resource with SPEC."""
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "seen.j2").write_text(SEEN)
    watch = Watch(
        gvk=WIDGET,
        command=Command(playbook=str(tmp_path / "play.yml")),
        vars={"out": str(tmp_path / "out.json"), "indirect": "<{{ plain }}>"},
        reconcile_period=None,
        max_runner_artifacts=20,
        snake_case_parameters=False,
        watch_annotations_changes=False,
        dependents=(),
        max_concurrent=None,
        verbosity=None,
        mark_unsafe=mark_unsafe,
    )
    obj = {"metadata": {"name": "w", "namespace": "ns"}, "spec": SPEC}
    directory = Workspaces(tmp_path / "base").prepare(ResourceKey(WIDGET, "ns", "w"))
    result = runner.run(RunRequest(directory, extra_vars(watch, obj), watch.command))
    assert result.successful, (result.failures, result.error)
    values: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    return values


def test_marked_values_arrive_as_they_are(runner: Runner, tmp_path: Path) -> None:
    assert seen(runner, tmp_path, mark_unsafe=True) == {
        "plain": TEMPLATE,
        "nested": [{"{{ 1 + 1 }}": TEMPLATE}],
        "block": SPEC["block"],
        "number": 3,
        "inside": TEMPLATE,
        "object": TEMPLATE,
        "spec": TEMPLATE,
        "meta": {"name": "w", "namespace": "ns"},
        "indirect": f"<{TEMPLATE}>",
    }


def test_unmarked_values_are_templates(runner: Runner, tmp_path: Path) -> None:
    """As in the Operator SDK; whoever may write the resource may then run code in the controller."""
    values = seen(runner, tmp_path, mark_unsafe=False)
    assert (values["plain"], values["inside"], values["object"]) == (49, 49, 49)
    assert (values["block"], values["indirect"]) == ("yes", "<49>")
    assert values["nested"] == [{"{{ 1 + 1 }}": 49}]


def test_marked_spec_cannot_choose_the_interpreter(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPEC, "ansible_python_interpreter", "/bin/false")
    assert seen(runner, tmp_path, mark_unsafe=True)["number"] == 3
    with pytest.raises(AssertionError, match="Module result deserialization failed"):
        seen(runner, tmp_path, mark_unsafe=False)
