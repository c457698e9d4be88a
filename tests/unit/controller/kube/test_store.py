"""What informers keep of the objects they see."""

from typing import Any

import pytest

from taskflow_controller.kube.kinds import Object, version_number
from taskflow_controller.kube.store import Store, Stored


def widget(name: str = "w", version: str = "1", **metadata: Any) -> Object:
    metadata = {"name": name, "namespace": "ns", "uid": "u", "resourceVersion": version, **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"a": ["b", 1, None]}}


def test_what_is_taken_out_is_the_takers_own() -> None:
    store = Store()
    assert store.put(("ns", "w"), Stored.of(widget())) is None
    taken = store.get("ns", "w")
    assert taken == widget()
    taken["spec"].clear()
    assert store.get("ns", "w") == widget() and store.get("ns", "other") is None
    old = store.put(("ns", "w"), Stored.of(widget(version="2")))
    assert old and old.version == "1" and len(store) == 1 and store.names() == [("ns", "w")]
    gone = store.pop(("ns", "w"))
    assert gone and gone.decode() == widget(version="2") and store.pop(("ns", "w")) is None


def test_outlines_for_those_who_count() -> None:
    store = Store()
    store.put(("ns", "w"), Stored.of(widget(creationTimestamp="2026-01-01T00:00:00Z")))
    store.put(("", "v"), Stored.of({"metadata": {"name": "v"}}))
    assert list(store.outlines()) == [
        {"metadata": {"namespace": "ns", "name": "w", "creationTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"name": "v", "creationTimestamp": ""}},
    ]


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", None), (None, None), ("1a", None), ("-1", None), ("\u0661", None)]
)
def test_versions(text: str | None, number: int | None) -> None:
    assert version_number(text) == number
