"""Runs for several resources at once, on a real API server."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

Operate = Callable[..., Controller]
FIRST = [f"w{number}" for number in range(30)]
CHANGES = 5

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - serve: {batch: "{{ ansible_operator_batch }}", log: "{{ log }}"}
"""
SERVE = """
#!/usr/bin/python
import os
import time

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(argument_spec={"batch": {"type": "list", "elements": "dict"}, "log": {"type": "str"}})
    log = module.params["log"]
    names = [item["name"] for item in module.params["batch"]]

    def note(what):
        for name in names:
            with open(os.path.join(log, name), "a") as file:
                file.write(f"{what} {time.time()}\\\\n")

    note("begin")
    if os.path.exists(os.path.join(log, "slow")):
        time.sleep(2)
    note("end")
    if any(name.startswith("poison") for name in names) and not os.path.exists(os.path.join(log, "repaired")):
        module.fail_json(msg="broke down")
    resources = [
        {**item, "failed": item["name"].startswith("bad"), "msg": f"{item['name']} is bad"}
        for item in module.params["batch"]
    ]
    module.exit_json(changed=False, resources=resources)


main()
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "serve.py").write_text(SERVE.lstrip().replace("\\\\n", "\\n"))


def served(controller: Controller) -> list[list[str]]:
    """The names that each run has served, in the order of the runs' starts."""
    runs = []
    for line in controller.logged("run started"):
        resources = line.get("resources") or [{"resource": line["resource"]}]
        runs.append([item["resource"].rpartition("/")[2] for item in resources])
    return runs


def test_many_that_wait_share_few_runs(operate: Operate, crd: Crd, namespace: str) -> None:
    for name in [*FIRST, "bad"]:
        crd.create(namespace, name=name)
    controller = operate(PLAYBOOK, batch=50).ready()
    until(lambda: all(crd.conditions(namespace, name).get("Successful") for name in FIRST), timeout=90)
    until(lambda: len([run for run in served(controller) if run == ["bad"]]) >= 2, timeout=60, what="tries of its own")
    runs = served(controller)
    shared = [run for run in runs if run != ["bad"]]
    assert len(shared) <= 4 and sorted(name for run in shared for name in run if name != "bad") == sorted(FIRST)
    assert sum("bad" in run for run in shared) <= 1, "after its failure it is alone"
    until(lambda: crd.conditions(namespace, "bad").get("Failure", {}).get("message") == "bad is bad")
    assert all(crd.conditions(namespace, name)["Successful"]["status"] == "True" for name in FIRST)
    directories = list((controller.runner_dir / GROUP / VERSION / crd.kind).iterdir())
    assert [directory.name for directory in directories] == ["_batch"]


def test_runs_of_a_key_never_overlap_in_batches_either(operate: Operate, crd: Crd, namespace: str) -> None:
    names = FIRST[:6]
    controller = operate(PLAYBOOK, "--max-concurrent-reconciles", "3", batch=4, manageStatus=False).ready()
    (controller.noted / "slow").touch()
    for name in names:
        crd.create(namespace, name=name)
    until(lambda: all(controller.times(name) for name in names), what="all to have begun")
    before = {name: len(controller.times(name)) for name in names}
    for number in range(CHANGES):
        for name in names:
            crd.patch(namespace, name, number=number)
    for name in names:
        until(lambda name=name: len(controller.times(name)) >= before[name] + 2, what=f"one more run of {name}")
    until(lambda: quiet(controller), timeout=60, what="the end of all runs")
    for name in names:
        assert ended(controller, name)
        runs = len(controller.times(name)) / 2
        assert runs < 1 + CHANGES, "events during a run are one more run, not one each"


def quiet(controller: Controller) -> bool:
    """Whether all runs have ended, and no other begins soon."""
    started = len(controller.logged("run started"))
    time.sleep(2)
    return started == len(controller.logged("run started")) == len(controller.logged("run succeeded"))


def ended(controller: Controller, name: str) -> bool:
    """Whether no run of the key is under way; begin and end must alternate."""
    noted = [what for what, _ in controller.times(name)]
    assert noted == ["begin", "end"] * (len(noted) // 2) + ["begin"] * (len(noted) % 2)
    return len(noted) % 2 == 0


def test_one_that_breaks_the_run_does_not_hold_up_the_others(operate: Operate, crd: Crd, namespace: str) -> None:
    names = FIRST[:8]
    for name in [*names, "poison"]:
        crd.create(namespace, name=name)
    controller = operate(PLAYBOOK, batch=50).ready()
    for name in names:
        until(
            lambda name=name: crd.conditions(namespace, name).get("Successful", {}).get("status") == "True",
            timeout=90,
            what=f"success of {name}",
        )
    assert crd.conditions(namespace, "poison")["Failure"]["message"] == "broke down"
    runs = served(controller)
    broken = next(place for place, run in enumerate(runs) if "poison" in run)
    for run in runs[broken + 1 :]:
        assert len(run) == 1 or not {*run} & {*runs[broken]}, "after the run that broke each is tried alone"
    (controller.noted / "repaired").touch()
    until(lambda: crd.conditions(namespace, "poison")["Successful"]["status"] == "True", timeout=60)
    crd.patch(namespace, "poison", again=1)
    until(lambda: served(controller)[-1] == ["poison"])
