"""Finalizers on a real API server: added before the first run, run at the end, and never another's removed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

Operate = Callable[..., Controller]
NAME, OTHER = "ctl-try.example.com/end", "other.example.com/keep"
SETTLE = 3.0

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.shell: 'echo "begin $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}"'
"""
END = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.shell: 'echo "{{ why }} $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}-end"'
    - ansible.builtin.stat: {path: "{{ log }}/repaired"}
      register: repaired
    - ansible.builtin.fail: {msg: not repaired yet}
      when: (needs_repair | default(false)) and not repaired.stat.exists
"""


@pytest.fixture
def finalizer(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "end.yml").write_text(END)
    return {"name": NAME, "playbook": "end.yml", "vars": {"why": "deleted"}}


@pytest.fixture(autouse=True)
def _nothing_is_left(crd: Crd, namespace: str):
    """Without a controller the finalizers would keep the namespace for ever."""
    yield
    for obj in crd.list(namespace):
        crd.patch_metadata(namespace, obj["metadata"]["name"], finalizers=[])


def finalizers(crd: Crd, namespace: str, name: str = "w") -> list[str]:
    return ((crd.get(namespace, name) or {}).get("metadata") or {}).get("finalizers") or []


def test_life(operate: Operate, crd: Crd, namespace: str, finalizer: dict[str, Any]) -> None:
    controller = operate(PLAYBOOK, manageStatus=False, finalizer=finalizer).ready()
    crd.create(namespace)
    until(lambda: controller.logged("run succeeded"))
    assert finalizers(crd, namespace) == [NAME]
    time.sleep(SETTLE)
    assert len(controller.times()) == 1, "the finalizer's coming starts no run"

    crd.delete(namespace)
    until(lambda: crd.get(namespace) is None, what="the resource's end")
    directory = controller.runner_dir / GROUP / VERSION / crd.kind / namespace / "w"
    until(lambda: not directory.exists(), what="the directory's end")
    assert [what for what, _ in controller.times("w-end")] == ["deleted"]
    assert len(controller.times()) == 1, "not the main playbook"
    assert len(controller.logged("finalizer run started")) == 1


def test_a_failing_finalizer_is_tried_again(
    operate: Operate, crd: Crd, namespace: str, finalizer: dict[str, Any]
) -> None:
    controller = operate(PLAYBOOK, finalizer=finalizer).ready()
    crd.create(namespace, needsRepair=True)
    until(lambda: NAME in finalizers(crd, namespace))
    crd.patch_metadata(namespace, finalizers=[OTHER, NAME])
    until(lambda: controller.logged("run succeeded"))
    crd.delete(namespace)
    until(lambda: len(controller.times("w-end")) >= 2, timeout=60, what="a second try")
    until(lambda: crd.conditions(namespace)["Failure"]["message"] == "not repaired yet")
    assert finalizers(crd, namespace) == [OTHER, NAME]

    (controller.noted / "repaired").touch()
    until(lambda: finalizers(crd, namespace) == [OTHER], timeout=60, what="our finalizer's end")
    until(lambda: crd.conditions(namespace)["Successful"]["status"] == "True")
    runs = len(controller.times("w-end"))
    time.sleep(SETTLE)
    assert len(controller.times("w-end")) == runs, "what is left is not ours to wait for"
    crd.patch_metadata(namespace, finalizers=[])
    until(lambda: crd.get(namespace) is None)


def test_deleted_while_nobody_watched(operate: Operate, crd: Crd, namespace: str, finalizer: dict[str, Any]) -> None:
    for name, names in (("ours", [NAME]), ("theirs", [OTHER])):
        crd.create(namespace, name=name)
        crd.patch_metadata(namespace, name, finalizers=names)
        crd.delete(namespace, name)
    controller = operate(PLAYBOOK, finalizer=finalizer).ready()
    until(lambda: crd.get(namespace, "ours") is None, what="the end of what waited for us")
    time.sleep(SETTLE)
    assert finalizers(crd, namespace, "theirs") == [OTHER]
    assert not controller.times("theirs") and not controller.times("theirs-end")
    assert not crd.conditions(namespace, "theirs")


def test_the_main_playbook_is_the_finalizer_s(operate: Operate, crd: Crd, namespace: str) -> None:
    playbook = PLAYBOOK.replace("begin", "{{ state }}")
    fields = {"name": NAME, "vars": {"state": "absent"}}
    controller = operate(playbook, manageStatus=False, finalizer=fields).ready()
    crd.create(namespace, state="present")
    until(lambda: [what for what, _ in controller.times()] == ["present"])
    until(lambda: controller.logged("run succeeded"))
    crd.delete(namespace)
    until(lambda: crd.get(namespace) is None)
    assert [what for what, _ in controller.times()] == ["present", "absent"]
