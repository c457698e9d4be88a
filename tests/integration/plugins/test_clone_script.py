"""The script of a Build's first step, with the machine's own git."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._build.build import CLONE_SCRIPT
from support.registry.git_server import GitServer, git
from support.registry.git_ssh_server import GitSshServer

USER, PASSWORD = "builder", 'pass word "$HOME" %s'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits on main; the first has the tag v1."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in (1, 2):
        (folder / "file").write_text(f"{number}\n")
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "-m", f"commit {number}")
        if number == 1:
            git(folder, "tag", "v1")
    return folder


class Clone:
    """One run of the script, as the agent would start it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.home = folder, folder / "work", folder / "home"
        self.secret, self.result, self.said = folder / "secret", folder / "revision", folder / "termination-log"
        for path in (self.work, self.home, self.secret):
            path.mkdir(parents=True)

    def run(self, url: str, revision: str) -> subprocess.CompletedProcess[str]:
        script = CLONE_SCRIPT.replace("$(results.revision.path)", str(self.result))
        script = script.replace("/dev/termination-log", str(self.said))
        file = self.folder / "script"
        file.write_text(script)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": str(self.work),
        }
        command = ["sh", str(file), url, revision, str(self.secret)]
        return subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


@pytest.mark.parametrize(("revision", "content"), [("main", "2"), ("HEAD", "2"), ("v1", "1"), ("v1^{commit}", "1")])
def test_it_checks_a_revision_out_and_reports_its_commit(repository, clone, revision, content):
    done = clone.run(repository.as_uri(), revision)
    assert done.returncode == 0, done.stderr
    assert (clone.work / "file").read_text() == f"{content}\n"
    assert clone.result.read_text() == git(repository, "rev-parse", revision)


@pytest.mark.parametrize("length", [40, 12])
def test_a_commit_is_found_by_its_hash(repository, clone, length):
    commit = git(repository, "rev-parse", "v1")
    assert clone.run(repository.as_uri(), commit[:length]).returncode == 0
    assert clone.result.read_text() == commit


def test_an_unknown_revision_is_said_in_the_termination_message(repository, clone):
    done = clone.run(repository.as_uri(), "no-such-branch")
    assert done.returncode == 1
    said = clone.said.read_text()
    assert "revision no-such-branch is not in the repository" in said
    assert said in done.stderr
    assert not clone.result.exists()


def test_a_repository_that_is_not_there_is_said_with_gits_words(tmp_path, clone):
    assert clone.run((tmp_path / "nothing").as_uri(), "main").returncode == 1
    assert "does not appear to be a git repository" in clone.said.read_text()


@pytest.fixture
def private_url(repository: Path) -> Iterator[str]:
    with GitServer(repository.parent, credentials=(USER, PASSWORD)) as server:
        yield f"{server.url}/repository"


def test_a_private_repository_opens_with_the_secret(private_url, clone):
    (clone.secret / "username").write_text(USER)
    (clone.secret / "password").write_text(PASSWORD)
    done = clone.run(private_url, "main")
    assert done.returncode == 0, done.stderr
    assert (clone.work / "file").read_text() == "2\n"
    assert PASSWORD not in (clone.work / ".git" / "config").read_text()


class Listener(http.server.BaseHTTPRequestHandler):
    """Asks for credentials, or sends whoever comes elsewhere; ``given`` has the credentials that it got."""

    elsewhere = ""
    given: ClassVar[list[str | None]]

    def do_GET(self) -> None:
        self.given.append(self.headers.get("Authorization"))
        self.send_response(301 if self.elsewhere else 401)
        header = ("Location", self.elsewhere + self.path) if self.elsewhere else ("WWW-Authenticate", 'Basic realm="x"')
        self.send_header(*header)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """A request is not worth a line."""


@contextlib.contextmanager
def listening(elsewhere: str = "") -> Iterator[tuple[str, list[str | None]]]:
    """Have a Listener; yield its URL, and the credentials that it got."""
    given: list[str | None] = []
    handler = type("Handler", (Listener,), {"elsewhere": elsewhere, "given": given})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", given
        server.shutdown()


def test_the_secret_is_for_the_urls_host_alone(clone):
    (clone.secret / "username").write_text(USER)
    (clone.secret / "password").write_text(PASSWORD)
    with listening() as (other, given_to_other), listening(elsewhere=other) as (first, _):
        assert clone.run(f"{first}/repository", "main").returncode == 1
    assert given_to_other and set(given_to_other) == {None}


def test_without_the_secret_it_says_that_it_was_asked_for_one(private_url, clone):
    done = clone.run(private_url, "main")
    assert done.returncode == 1
    assert "could not read Username" in clone.said.read_text()


def test_a_wrong_password_is_said_and_not_shown(private_url, clone):
    (clone.secret / "username").write_text(USER)
    (clone.secret / "password").write_text("wrong-word")
    done = clone.run(private_url, "main")
    assert done.returncode == 1
    assert "Authentication failed" in clone.said.read_text()
    assert "wrong-word" not in done.stdout + done.stderr + clone.said.read_text()


@pytest.fixture
def ssh_server(repository: Path) -> Iterator[GitSshServer]:
    with GitSshServer(repository.parent) as server:
        yield server


@pytest.mark.parametrize("knows_the_host", [True, False])
def test_a_key_opens_a_repository_over_ssh(ssh_server, clone, knows_the_host):
    (clone.secret / "ssh-privatekey").write_text(ssh_server.client_key)
    if knows_the_host:
        (clone.secret / "known_hosts").write_text(ssh_server.known_hosts)
    done = clone.run(f"{ssh_server.url}/repository", "main")
    assert done.returncode == 0, done.stderr
    assert (clone.work / "file").read_text() == "2\n"


def test_another_host_than_the_known_one_gets_nothing(ssh_server, clone, tmp_path):
    (clone.secret / "ssh-privatekey").write_text(ssh_server.client_key)
    with GitSshServer(tmp_path) as other:
        key = other.known_hosts.split(" ", 1)[1]
    (clone.secret / "known_hosts").write_text(ssh_server.known_hosts.split(" ", 1)[0] + " " + key)
    assert clone.run(f"{ssh_server.url}/repository", "main").returncode == 1
    assert "Host key verification failed" in clone.said.read_text()


def test_a_key_that_opens_nothing_is_said(ssh_server, clone, tmp_path):
    (clone.secret / "ssh-privatekey").write_text(GitSshServer(tmp_path).client_key)
    assert clone.run(f"{ssh_server.url}/repository", "main").returncode == 1
    assert "Permission denied (publickey)" in clone.said.read_text()
