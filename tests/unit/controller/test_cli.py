"""The command line: mistakes are one plain message and exit code 2."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from taskflow_controller import __version__, cli
from taskflow_controller.cli import main
from taskflow_controller.compose import ansible_debug_logs
from taskflow_controller.options import Options

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
        # Python 3.13 puts the number into quotes.
        (["--ansible-verbosity", "8"], "argument --ansible-verbosity: invalid choice: "),
        (["--health-probe-bind-address", "x"], "argument --health-probe-bind-address: 'x' is not an address"),
        (["--metrics-bind-address", "x"], "argument --metrics-bind-address: 'x' is not an address"),
        (["--ansible-log-events", "some"], "argument --ansible-log-events: invalid choice: 'some'"),
        (["--ansible-args", "a 'b"], "argument --ansible-args: \"a 'b\" can't be split into arguments: No closing"),
        (["--leader-elect=maybe"], "argument --leader-elect: 'maybe' is neither true nor false"),
        (["--leader-elect-lease-duration=1500ms"], "'1500ms' is not a whole number of seconds"),
        (["--metrics-addr=:1", "--metrics-bind-address=:1"], "--metrics-addr and --metrics-bind-address are the same"),
        (["--enable-leader-election", "--leader-elect"], "--enable-leader-election and --leader-elect are the same"),
        (["--metrics-secure"], "--metrics-secure: metrics are served without TLS"),
        (["--config", "file"], "--config: a manager's configuration file is not read"),
        (["--zap-log-level", "loud"], "argument --zap-log-level: 'loud' is not a level"),
        (["--watches", "file"], "unrecognized arguments: --watches file"),
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


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """What the command line comes to, in place of a start."""
    seen: list[Options] = []

    def compose(options: Options, environ: object) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(cli, "compose", compose)
    monkeypatch.setattr(cli.process, "serve", lambda code: code)
    for name in ("OPERATOR_NAME", "ANSIBLE_ROLES_PATH", "ANSIBLE_COLLECTIONS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return seen


@pytest.mark.parametrize(
    ("field", "default", "arguments", "value"),
    [
        ("watches_file", "./watches.yaml", ["--watches-file", "w"], "w"),
        ("max_concurrent", os.cpu_count(), ["--max-concurrent-reconciles=7"], 7),
        ("max_total", None, ["--max-concurrent-total=9"], 9),
        ("reconcile_period", 36000, ["--reconcile-period=0s"], 0),
        ("run_timeout", 0, ["--run-timeout=5m"], 300),
        ("inject_owner_ref", True, ["--inject-owner-ref=false"], False),
        ("ansible_verbosity", 0, ["--ansible-verbosity", "3"], 3),
        ("ansible_args", "", ["--ansible-args", "--diff -e 'a=b c'"], "--diff -e 'a=b c'"),
        ("ansible_log_events", "tasks", ["--ansible-log-events=Nothing"], "nothing"),
        ("ansible_roles_path", "", ["--ansible-roles-path=/r"], "/r"),
        ("ansible_collections_path", "", ["--ansible-collections-path=/c"], "/c"),
        ("runner_dir", os.path.join(tempfile.gettempdir(), "taskflow-controller"), ["--runner-dir=/d"], "/d"),
        ("health_address", ":6789", ["--health-probe-bind-address=0"], ""),
        ("metrics_address", ":8080", ["--metrics-bind-address=127.0.0.1:1"], "127.0.0.1:1"),
        ("metrics_address", ":8080", ["--metrics-addr=:1"], ":1"),
        ("user_metrics_address", "127.0.0.1:5050", ["--user-metrics-bind-address=0"], ""),
        ("leader_elect", False, ["--leader-elect"], True),
        ("leader_elect", False, ["--leader-elect=true"], True),
        ("leader_elect", False, ["--leader-elect=0"], False),
        ("leader_elect", False, ["--enable-leader-election"], True),
        ("leader_election_id", "taskflow-controller", ["--leader-election-id=x"], "x"),
        ("leader_election_namespace", "", ["--leader-election-namespace=n"], "n"),
        ("lease_duration", 15, ["--leader-elect-lease-duration=1m"], 60),
        ("renew_deadline", 10, ["--leader-elect-renew-deadline=40s"], 40),
        ("graceful_shutdown_timeout", 30, ["--graceful-shutdown-timeout=1m30s"], 90),
        ("kubeconfig", "", ["--kubeconfig=k"], "k"),
        ("log_level", "info", ["--log-level=debug"], "debug"),
        ("log_level", "info", ["--zap-log-level=2"], "debug"),
        ("log_level", "info", ["--zap-log-level", "error"], "error"),
    ],
)
def test_flags(served: list[Options], field: str, default: object, arguments: list[str], value: object) -> None:
    assert main(["run"]) == 0
    assert main(["run", *arguments]) == 0
    assert [getattr(options, field) for options in served] == [default, value]


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (["--metrics-addr=:1"], "--metrics-addr is deprecated: use --metrics-bind-address"),
        (["--enable-leader-election"], "--enable-leader-election is deprecated: use --leader-elect"),
        (["--zap-log-level", "debug"], "--zap-log-level is deprecated: use --log-level"),
        (["--proxy-port", "8888"], "--proxy-port is ignored: the proxy picks a free port"),
        (["--zap-devel"], "--zap-devel is ignored: log lines are always JSON"),
        (
            ["--leader-elect-resource-lock=leases"],
            "--leader-elect-resource-lock is ignored: the lock is always a Lease",
        ),
        (["--metrics-secure=false"], ""),
    ],
)
def test_old_flags_are_taken_with_a_warning(
    served: list[Options], capsys: pytest.CaptureFixture[str], arguments: list[str], warning: str
) -> None:
    assert main(["run", *arguments]) == 0
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["msg"]) for line in logged] == ([("WARNING", warning)] if warning else [])


def test_operator_name(served: list[Options], capsys: pytest.CaptureFixture[str]) -> None:
    """A variable of old SDK projects that names the Lease; the flag wins."""
    os.environ["OPERATOR_NAME"] = "mine"
    main(["run"])
    assert "OPERATOR_NAME is deprecated: use --leader-election-id" in capsys.readouterr().err
    main(["run", "--leader-election-id", "flag"])
    assert capsys.readouterr().err == ""
    assert [options.leader_election_id for options in served] == ["mine", "flag"]


def test_paths_of_ansible_become_its_variables(served: list[Options]) -> None:
    main(["run", "--ansible-roles-path=/r", "--ansible-collections-path=/c"])
    assert os.environ["ANSIBLE_ROLES_PATH"] == f"/r:{Path('roles').absolute()}"
    assert os.environ["ANSIBLE_COLLECTIONS_PATH"] == "/c"


@pytest.mark.parametrize(
    ("text", "wanted", "warned"), [("", False, False), ("true", True, False), ("0", False, False), ("si", False, True)]
)
def test_debug_logs(caplog: pytest.LogCaptureFixture, text: str, wanted: bool, warned: bool) -> None:
    assert ansible_debug_logs({"ANSIBLE_DEBUG_LOGS": text}) == wanted
    assert ("ANSIBLE_DEBUG_LOGS is ignored: 'si' is neither" in caplog.text) == warned
