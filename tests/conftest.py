"""Make the checkout importable as the collection that it is."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "build" / "collections"


def link_collection() -> None:
    """Link the checkout as ansible_collections/taskflow/operator below build/collections."""
    link = COLLECTIONS / "ansible_collections" / "taskflow" / "operator"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(ROOT)


link_collection()
sys.path[:0] = [str(ROOT), str(COLLECTIONS)]

# No example has to be quick: the machine may be busy.
settings.register_profile("taskflow", deadline=None)
settings.load_profile("taskflow")
