"""The conditions that the controller writes, on a real API server."""

import threading
import time
from collections.abc import Callable
from typing import Any

from support.controller.controller_harness import Controller, Crd, until

Operate = Callable[..., Controller]
SETTLE = 4.0  # seconds in which a write or a run that should not come would have come

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Note the run
      ansible.builtin.shell: 'echo "begin $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}"'
    - name: Fail and be rescued
      when: mode == 'rescued'
      block:
        - ansible.builtin.fail: {msg: inner}
      rescue:
        - ansible.builtin.debug: {msg: never mind}
    - name: Fail and be ignored
      when: mode == 'ignored'
      ansible.builtin.fail: {msg: ignored}
      ignore_errors: true
    - name: Fail
      when: mode == 'failed'
      ansible.builtin.fail: {msg: disk full}
    - name: Fail with a secret
      when: mode == 'secret'
      ansible.builtin.fail: {msg: "the password is hunter2"}
      no_log: true
    - name: Take a long time
      when: mode == 'slow'
      ansible.builtin.command: sleep 300
    - name: Take some time
      when: mode == 'busy'
      ansible.builtin.command: sleep 4

# A play's hosts are found by the process of the run itself.
- hosts: "{{ lookup('ansible.builtin.pipe', 'kill -9 $PPID') if mode == 'killed' else 'localhost' }}"
  gather_facts: false
"""


def statuses(conditions: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {kind: condition["status"] for kind, condition in conditions.items()}


SUCCEEDED = {"Running": "True", "Successful": "True", "Failure": "False"}
# Running is False only until the next try, which may be milliseconds.
FAILED = {"Successful": "False", "Failure": "True"}


def completed(crd: Crd, namespace: str) -> str:
    return crd.conditions(namespace)["Running"].get("ansibleResult", {}).get("completion", "")


def ends_as(crd: Crd, namespace: str, name: str, expected: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Wait for the conditions, and return them."""
    until(
        lambda: expected.items() <= statuses(crd.conditions(namespace, name)).items(),
        timeout=90,
        what=f"{expected} of {name}",
    )
    return crd.conditions(namespace, name)


def test_success_and_then_peace(operate: Operate, crd: Crd, namespace: str) -> None:
    crd.create(namespace, mode="ok")
    ready = {"type": "Ready", "status": "Unknown", "reason": "theirs"}
    crd.patch_status(namespace, url="http://", conditions=[ready])
    controller = operate(PLAYBOOK)
    conditions = ends_as(crd, namespace, "w", {**SUCCEEDED, "Ready": "Unknown"})
    assert conditions["Ready"] == ready
    running = conditions["Running"]
    assert (running["reason"], running["message"]) == ("Successful", "Awaiting next reconciliation")
    result = running["ansibleResult"]
    assert (result["ok"], result["changed"], result["skipped"], result["failures"]) == (1, 1, 6, 0)
    assert conditions["Successful"]["message"] == "Last reconciliation succeeded"

    before = crd.get(namespace)
    time.sleep(SETTLE)
    assert crd.get(namespace) == before, "nothing is written while nothing happens"
    assert len(controller.times()) == 1
    assert before is not None and before["status"]["url"] == "http://"

    crd.patch(namespace, note="2")
    until(lambda: len(controller.times()) == 2)
    until(
        lambda: (
            crd.conditions(namespace)["Running"].get("ansibleResult", {}).get("completion", "") > result["completion"]
        )
    )
    after = crd.conditions(namespace)
    assert after["Failure"]["lastTransitionTime"] == conditions["Failure"]["lastTransitionTime"]
    assert after["Running"]["lastTransitionTime"] == conditions["Running"]["lastTransitionTime"]


def test_what_counts_as_a_failure(operate: Operate, crd: Crd, namespace: str) -> None:
    operate(PLAYBOOK, runTimeout="25s").ready()
    for mode in ("rescued", "ignored", "failed", "secret", "killed", "slow"):
        crd.create(namespace, name=mode, mode=mode)
    for mode in ("rescued", "ignored"):
        ends_as(crd, namespace, mode, SUCCEEDED)
    failure = ends_as(crd, namespace, "failed", FAILED)["Failure"]
    assert (failure["reason"], failure["message"]) == ("Failed", "disk full")
    assert failure["ansibleResult"]["failures"] == 1
    message = ends_as(crd, namespace, "secret", FAILED)["Failure"]["message"]
    assert "hunter2" not in message and "no_log" in message

    message = ends_as(crd, namespace, "killed", FAILED)["Failure"]["message"]
    assert "killed" in message, message
    message = ends_as(crd, namespace, "slow", FAILED)["Failure"]["message"]
    assert "25 s" in message, message


def test_a_playbook_that_cannot_be_parsed(operate: Operate, crd: Crd, namespace: str) -> None:
    operate("- hosts: localhost\n  tasks: [{no.such.module: {}}]\n")
    crd.create(namespace)
    message = ends_as(crd, namespace, "w", FAILED)["Failure"]["message"]
    assert "no.such.module" in message


def test_failure_and_recovery(operate: Operate, crd: Crd, namespace: str) -> None:
    operate(PLAYBOOK)
    crd.create(namespace, mode="failed")
    failed = ends_as(crd, namespace, "w", FAILED)
    time.sleep(1.1)  # times in conditions are in whole seconds
    crd.patch(namespace, mode="ok")
    succeeded = ends_as(crd, namespace, "w", SUCCEEDED)
    for kind in SUCCEEDED:
        assert succeeded[kind]["lastTransitionTime"] > failed[kind]["lastTransitionTime"]
    assert (succeeded["Failure"]["reason"], succeeded["Failure"]["message"]) == ("", "")


def test_a_kind_whose_status_is_part_of_it(operate: Operate, new_crd: Crd, namespace: str) -> None:
    """There each write of the status is a new generation; it must not start a run."""
    new_crd.install(status_resource=False)
    controller = operate(PLAYBOOK).ready()
    new_crd.create(namespace, mode="ok")
    ends_as(new_crd, namespace, "w", SUCCEEDED)
    before = new_crd.get(namespace)
    time.sleep(SETTLE)
    assert new_crd.get(namespace) == before and len(controller.times()) == 1
    new_crd.patch(namespace, note="2")
    until(lambda: len(controller.times()) == 2, what="a run for a new spec")


def test_another_writes_the_status_all_the_time(operate: Operate, crd: Crd, namespace: str) -> None:
    controller = operate(PLAYBOOK).ready()
    crd.create(namespace, mode="busy")
    ended = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not ended.is_set():
            crd.patch_status(namespace, counter=len(written))
            written.append(len(written))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        ends_as(crd, namespace, "w", SUCCEEDED)
    finally:
        ended.set()
        writer.join()
    found = crd.get(namespace)
    assert found is not None and found["status"]["counter"] == written[-1] > 10
    assert statuses(crd.conditions(namespace)) == SUCCEEDED
    assert len(controller.times()) == 1


def test_gone_during_the_run(operate: Operate, crd: Crd, namespace: str) -> None:
    controller = operate(PLAYBOOK).ready()
    crd.create(namespace, mode="busy")
    until(controller.times)
    crd.delete(namespace)
    until(lambda: controller.logged("resource is gone"), what="the end of it")
    assert controller.logged("run succeeded")
    assert not controller.logged("cannot write") and not controller.logged("bug")
