"""What informers keep of the objects they see, and how far they say to have come."""

import copy
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from taskflow_controller.kube.api import ApiResource
from taskflow_controller.kube.informers import Change, ResourceInformer
from taskflow_controller.kube.kinds import GroupVersionKind, Object, version_number
from taskflow_controller.kube.store import Slim, Store, Stored

WIDGET = GroupVersionKind("example.com", "v1", "Widget")


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
    assert old and old.version == "1" and len(store) == 1
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


class FakeApi:
    """Serves a list, and a watch that tells the events it is given."""

    def __init__(self, *items: Object) -> None:
        self.items, self.closing = list(items), threading.Event()

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        return ApiResource("widgets", True)

    def get(self, path: str, query: dict[str, Any]) -> Object:
        return {"metadata": {"resourceVersion": "50"}, "items": copy.deepcopy(self.items)}

    def stream(self, path: str, query: dict[str, Any], read_timeout: float) -> Any:
        return SimpleNamespace()


def informer(api: FakeApi, changes: list[Change], **options: Any) -> ResourceInformer:
    return ResourceInformer(api, WIDGET, on_change=changes.append, store=Store(), **options)  # type: ignore[arg-type]


def test_the_informers_own_cache_holds_identities_only() -> None:
    changes: list[Change] = []
    one = informer(FakeApi(), changes)
    obj = widget(labels={"a": "b"}, managedFields=[{}])
    kept = copy.deepcopy(obj)
    one._upserted(kept)
    assert kept == {"metadata": {"name": "w", "namespace": "ns", "resourceVersion": "1"}}
    assert changes[0].new == obj == one.store.get("ns", "w")
    (item,) = informer(FakeApi(obj), changes)._list().items
    assert item == kept and isinstance(item, Slim) and item.stored and item.stored.decode() == obj
    one._deleted(item)  # a list shows that it is gone
    assert (changes[1].old, changes[1].new) == (obj, None)


def test_first_sights_may_be_left_out() -> None:
    changes: list[Change] = []
    one = informer(FakeApi(), changes, tells_new=False)
    one._upserted(widget())
    one._upserted(widget(version="2"))
    one._upserted(widget(version="3", uid="u2"))
    assert [(change.old and change.old["metadata"]["resourceVersion"], change.new is None) for change in changes] == [
        ("1", False),
        ("2", True),  # deleted and created anew, unseen
    ]


def test_how_far_an_informer_has_come() -> None:
    api = FakeApi(widget(version="40"))
    one = informer(api, [])
    assert one.version is None
    for item in one._list_or_watch().items:  # type: ignore[attr-defined]
        one._upserted(item)
    assert one.version is None  # before all of the list was taken
    one._list_or_watch(watch=True, resource_version="50")
    assert one.version == 50
    one._upserted(widget(version="60"))
    assert one.version == 60
    one._advance({"metadata": {"resourceVersion": "70"}})  # a bookmark
    assert one.version == 70
    one._deleted(widget(version="80"))
    assert one.version == 80
    one._upserted(Slim(widget(version="90")))  # while a list is taken: others of it may be older
    assert one.version == 80
    one._failed(OSError("away"))
    assert one.version is None
    one._succeeded()
    one._upserted(widget(version="not a number"))
    assert one.version is None
