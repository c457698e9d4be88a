"""The runs that a fork server is for. The controller writes it, and the server reads it when it starts."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FILE = "spec.json"

# Ansible reads these variables while it is imported, or Python does when it starts. So a run with other values needs
# another server. All other variables belong to a run.
_PREFIXES = ("ANSIBLE_", "_ANSIBLE_", "LC_", "LD_", "PYTHON")
_NAMES = {
    "AD_HOC_COMMAND_ID", "AWX_LIB_DIRECTORY", "HOME", "LANG", "LANGUAGE", "NO_COLOR", "ORIGINAL_STDOUT_CALLBACK",
    "TZ",
}  # fmt: skip
_PER_RUN = {"ANSIBLE_LOCAL_TEMP"}


@dataclass(frozen=True)
class Spec:
    """The runs that a fork server is for.

    Attributes:
        cwd: their working directory.
        folder: the folder of the playbooks; "" for roles, and for playbooks in collections.
        settings: the environment variables that Ansible or Python reads only once, sorted.
        playbooks: those that are known in advance.
        roles: those that are known in advance.
    """

    cwd: str
    folder: str
    settings: tuple[tuple[str, str], ...]
    playbooks: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Write the spec to a file in the server's directory."""
        (directory / _FILE).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the spec from the file that ``write`` wrote."""
        fields = json.loads((directory / _FILE).read_text(encoding="utf-8"))
        fields["settings"] = tuple((name, value) for name, value in fields["settings"])
        return cls(**{**fields, "playbooks": tuple(fields["playbooks"]), "roles": tuple(fields["roles"])})


def settings_of(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the variables of an environment that Ansible or Python reads only once, sorted."""
    return tuple(sorted((name, value) for name, value in environment.items() if _is_setting(name)))


def _is_setting(name: str) -> bool:
    return (name.startswith(_PREFIXES) or name in _NAMES) and name not in _PER_RUN
