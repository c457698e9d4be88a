"""What a run leaves in the log, in the status, in Events and on the disk, and that no secret is among it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from support.controller.controller_harness import GROUP, VERSION, until
from support.controller.trial import Trial

SECRET = "qx7-very-secret-93"
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - {name: Fine, ansible.builtin.command: "echo {{ password }}", no_log: true}
    - {name: Loop, ansible.builtin.command: "echo {{ item }}", loop: ["{{ password }}"], no_log: true}
    - {name: Say, ansible.builtin.debug: {msg: "number {{ number }}"}}
    - {name: Broken, ansible.builtin.fail: {msg: "it is {{ password }}"}, no_log: true, when: number == 1}
"""


def status(trial: Trial, name: str) -> dict[str, Any]:
    objects = client.CustomObjectsApi(trial.plane.api)
    found = objects.get_namespaced_custom_object(GROUP, VERSION, trial.namespace, trial.crd.plural, name)
    return found.get("status") or {}


def conditions(trial: Trial, name: str) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in status(trial, name).get("conditions") or []}


@pytest.mark.parametrize("flags", [(), ("--ansible-log-events=everything", "--ansible-verbosity=3")])
def test_no_log_hides_everywhere(trial: Callable[..., Trial], flags: tuple[str, ...]) -> None:
    one = trial(play=PLAY, watch={"manageStatus": True})
    controller = one.start(*flags).ready()
    one.create("a", password=SECRET)
    until(lambda: controller.logged("run failed"), what="the failure")
    until(lambda: conditions(one, "a").get("Failure", {}).get("status") == "True", what="its condition")
    assert "no_log" in conditions(one, "a")["Failure"]["message"]
    one.change("a")
    until(lambda: conditions(one, "a").get("Successful", {}).get("status") == "True", what="success")
    assert controller.stop() == 0
    events = client.CoreV1Api(one.plane.api).list_namespaced_event(one.namespace).to_str()
    for what, text in (("log", controller.tail(10_000)), ("status", json.dumps(status(one, "a"))), ("events", events)):
        assert SECRET not in text, what
    files = [file for file in controller.runner_dir.rglob("*") if file.is_file()]
    assert any(file.name == "stdout" for file in files)
    assert [str(file) for file in files if SECRET.encode() in file.read_bytes()] == []


def test_lines_of_tasks(trial: Callable[..., Trial]) -> None:
    one = trial(play=PLAY)
    controller = one.start().ready()
    one.create("a", password="x")
    one.change("a")
    until(lambda: controller.logged("run succeeded"), what="success")
    # The next run may have begun.
    line = [told for told in controller.logged("task ok") if told["task"] == "Say"][-1]
    assert line["resource"] == f"{one.crd.kind} {one.namespace}/a"
    assert (line["host"], line["action"], line["result"]) == ("localhost", "ansible.builtin.debug", "number 2")
