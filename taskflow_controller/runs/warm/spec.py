"""What a fork server is for: written by the controller, read by the server as it starts."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FILE = "spec.json"

# Ansible reads these while it is imported, or Python does when it starts: a run that has them otherwise needs
# another server. All other variables are a run's own.
_PREFIXES = ("ANSIBLE_", "_ANSIBLE_", "LC_", "LD_", "PYTHON")
_NAMES = {
    "AD_HOC_COMMAND_ID", "AWX_LIB_DIRECTORY", "HOME", "LANG", "LANGUAGE", "NO_COLOR", "ORIGINAL_STDOUT_CALLBACK",
    "TZ",
}  # fmt: skip
_PER_RUN = {"ANSIBLE_LOCAL_TEMP"}


@dataclass(frozen=True)
class Spec:
    """``folder`` is that of the playbooks ("" for roles), ``cwd`` where they run, ``settings`` what of the
    environment Ansible reads once; ``playbooks`` and ``roles`` are those known beforehand.
    """

    cwd: str
    folder: str
    settings: tuple[tuple[str, str], ...]
    playbooks: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Write it into the server's directory."""
        (directory / _FILE).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read what ``write`` wrote."""
        fields = json.loads((directory / _FILE).read_text(encoding="utf-8"))
        fields["settings"] = tuple((name, value) for name, value in fields["settings"])
        return cls(**{**fields, "playbooks": tuple(fields["playbooks"]), "roles": tuple(fields["roles"])})


def settings_of(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what of an environment Ansible or Python reads once for all, sorted."""
    return tuple(sorted((name, value) for name, value in environment.items() if _is_setting(name)))


def _is_setting(name: str) -> bool:
    return (name.startswith(_PREFIXES) or name in _NAMES) and name not in _PER_RUN
