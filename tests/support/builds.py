"""Builds for tests, and the repositories that they build."""

from __future__ import annotations

from pathlib import Path

from support.kubectl import Object
from support.registry.git_server import git


class Source:
    """A repository that somebody pushes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
        self.first = self.push("one")

    def push(self, content: str) -> str:
        """Put a commit on main, and return its hash."""
        (self.folder / "content").write_text(f"{content}\n")
        git(self.folder, "add", "content")
        git(self.folder, "commit", "--quiet", "-m", content)
        return git(self.folder, "rev-parse", "HEAD")


def make_build(name: str, url: str, revision: str = "main", git_fields: Object | None = None, **spec: object) -> Object:
    """Return a manifest; its steps show the source."""
    steps = [
        {"name": "show", "command": ["cat", "content"]},
        {"name": "say", "script": 'echo "commit $BUILD_REVISION"'},
    ]
    return {
        "apiVersion": "ci.zt.vapi.cc/v1",
        "kind": "Build",
        "metadata": {"name": name},
        "spec": {
            "source": {"git": {"url": url, "revision": revision, **(git_fields or {})}},
            "image": "busybox:1.28",
            "steps": steps,
            **spec,
        },
    }
