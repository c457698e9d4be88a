"""The command line: mistakes are one plain message and exit code 2."""

import os
from pathlib import Path

import pytest

from taskflow_controller import __version__
from taskflow_controller.cli import main

KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: c
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "")
    Path("play.yml").write_text("[]")
    Path("kubeconfig").write_text(KUBECONFIG)
    Path("watches.yaml").write_text(
        "[{version: v1, kind: Pod, playbook: play.yml, manageStatus: false, watchDependentResources: false}]"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"taskflow-controller {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reconcile-period", "10"], "argument --reconcile-period: '10' is not a duration"),
        (
            ["--max-concurrent-reconciles", "0"],
            "argument --max-concurrent-reconciles: '0' is not a whole number",
        ),
        (["--ansible-verbosity", "8"], "argument --ansible-verbosity: invalid choice: 8"),
        (["--health-probe-bind-address", "x"], "argument --health-probe-bind-address: 'x' is not an address"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_flag(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["run", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--watches-file", "none"], "watches file none: can't be read: No such file or directory"),
        (["--kubeconfig", "none"], "--kubeconfig none: "),
        (["--kubeconfig", "play.yml"], "play.yml: is not a kubeconfig"),
        (["--kubeconfig", "kubeconfig", "--runner-dir", "play.yml"], "--runner-dir play.yml: File exists"),
        (
            ["--kubeconfig", "kubeconfig", "--leader-elect"],
            "--leader-elect: not in a Pod, so --leader-election-names",
        ),
    ],
)
def test_bad_start(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory = [] if "--runner-dir" in arguments else ["--runner-dir", "runner"]
    assert main(["run", *arguments, *directory]) == 2
    error = capsys.readouterr().err
    assert f"taskflow-controller: error: {message}" in error and "Traceback" not in error


def test_playbooks_find_the_roles_of_the_working_directory(tmp_path: Path) -> None:
    assert main(["run", "--watches-file", "nothing.yaml"]) == 2
    assert os.environ["ANSIBLE_ROLES_PATH"].split(os.pathsep)[-1] == str(tmp_path / "roles")
