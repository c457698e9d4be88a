"""Where the runs look for roles: where Ansible is told to, and in ./roles, as the Operator SDK does."""

from pathlib import Path

import pytest

from taskflow_controller.config.playbooks import roles_path


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_of_the_environment(tmp_path: Path) -> None:
    assert roles_path({"ANSIBLE_ROLES_PATH": "/a:/b"}) == f"/a:/b:{tmp_path}/roles"


def test_of_the_configuration(tmp_path: Path) -> None:
    Path("ansible.cfg").write_text("[defaults]\nroles_path = elsewhere\n")
    assert roles_path({}) == f"{tmp_path}/elsewhere:{tmp_path}/roles"


def test_of_ansible_itself(tmp_path: Path) -> None:
    assert (
        roles_path({}) == f"{Path.home()}/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles:{tmp_path}/roles"
    )


def test_each_once(tmp_path: Path) -> None:
    assert roles_path({"ANSIBLE_ROLES_PATH": f"{tmp_path}/roles:/a"}) == f"{tmp_path}/roles:/a"
