"""docs/watches.md: what it says of the fields, and its examples."""

import re
from pathlib import Path

import pytest

from taskflow_controller.config import watches
from taskflow_controller.config.watches import load_watches
from taskflow_controller.errors import ConfigError

REFERENCE = (Path(__file__).parents[4] / "docs/watches.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the playbook of the examples."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/memcached.yml").touch()
    monkeypatch.chdir(tmp_path)


def load(text: str) -> watches.WatchesFile:
    Path("watches.yaml").write_text(text)
    return load_watches("watches.yaml", {})


def test_every_field_is_in_the_table_and_no_other() -> None:
    table = REFERENCE.partition("\n## Fields\n")[2].partition("\n### ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(cells))) == sorted(watches._SUPPORTED)


def test_examples_are_taken() -> None:
    loaded = load(BLOCKS[0] + BLOCKS[1])
    (watch,) = loaded.watches
    assert not loaded.warnings
    assert watch.mark_unsafe and watch.finalizer and watch.finalizer.vars == {"state": "absent"}
    (dependent,) = watch.dependents
    assert dependent.label_selector == "app=cache"
    assert dependent.fields == (
        ("status", "phase"),
        ("metadata", "annotations", "example.com/size"),
        ("data", "a key.with[brackets]"),
    )
    assert dependent.finalizer == "cache.example.com/counted"


def test_message_of_the_example() -> None:
    with pytest.raises(ConfigError) as refusal:
        load(BLOCKS[0].replace("    name: cache.example.com/finalizer\n", ""))
    assert f"`{refusal.value}`" in REFERENCE
