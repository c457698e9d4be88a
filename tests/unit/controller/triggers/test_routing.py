"""Whom a change reconciles, and why."""

import dataclasses
from typing import Any

import pytest
from support.api.proxy_harness import WATCH

from taskflow_controller.config.watches import DependentWatch
from taskflow_controller.kube.informers import Change
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey
from taskflow_controller.kube.store import Store, Stored
from taskflow_controller.triggers import routing
from taskflow_controller.triggers.routing import Router, Routes

WIDGET, CONFIG_MAP = WATCH.gvk, GroupVersionKind("", "v1", "ConfigMap")
DATA = DependentWatch(CONFIG_MAP, "", (("data", "a"),))


def widget(generation: int = 1) -> Object:
    return {"kind": "Widget", "metadata": {"name": "w", "namespace": "ns", "uid": "uid of w", "generation": generation}}


def owned_by(*names: str, **metadata: Any) -> Object:
    reference = {"apiVersion": "example.com/v1", "kind": "Widget"}
    references = [{**reference, "name": name, "uid": f"uid of {name}"} for name in names]
    return {"namespace": "ns", "ownerReferences": references, **metadata}


def config_map(data: str = "a", metadata: Object | None = None) -> Object:
    metadata = {"name": "c", **(metadata or owned_by("w"))}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": data}}


def router(*, own: bool = False, **fields: Any) -> Router:
    """Return a router that knows the Widgets w and v."""
    owners = Store()
    for name in ("w", "v"):
        owners.put(("ns", name), Stored.of({"metadata": {"uid": f"uid of {name}"}}))
    return Router(dataclasses.replace(WATCH, **fields), owners, lambda watch, old, new: own)


def key(name: str) -> ResourceKey:
    return ResourceKey(WIDGET, "ns", name)


def told(routes: Routes) -> list[tuple[ResourceKey, str]]:
    return [(key, str(cause)) for key, cause in routes]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, widget(), "Widget seen for the first time"),
        (widget(), widget(2), "Widget generation 1 -> 2"),
        (widget(), widget(), None),
        (widget(), None, "Widget deleted"),
    ],
)
def test_a_resource_that_changed(old: Any, new: Any, reason: str | None) -> None:
    assert told(router().primary(Change(WIDGET, old, new))) == ([(key("w"), reason)] if reason else [])


def test_what_the_controller_wrote_is_no_reason_but_a_deletion_is() -> None:
    assert not list(router(own=True).primary(Change(WIDGET, widget(), widget(2))))
    assert list(router(own=True).primary(Change(WIDGET, widget(), None)))


def test_what_is_gone_may_only_be_selected_no_longer() -> None:
    found = router(selector="a=b").primary(Change(WIDGET, widget(), None))
    assert told(found) == [(key("w"), "Widget deleted, or no longer selected")]


def test_a_dependent_reconciles_the_owner_that_controls_it() -> None:
    metadata = owned_by("w", "v")
    metadata["ownerReferences"][1]["controller"] = True
    change = Change(CONFIG_MAP, config_map("a", metadata), config_map("b", metadata))
    assert told(router().dependent(DATA, change)) == [(key("v"), "ConfigMap c data.a changed")]
    assert told(router().dependent(DATA, Change(CONFIG_MAP, config_map("a", metadata), None))) == [
        (key("v"), "ConfigMap c deleted")
    ]
    unchanged = Change(CONFIG_MAP, config_map("a", metadata), config_map("a", metadata))
    assert not list(router().dependent(DATA, unchanged))


def test_the_owner_that_a_dependent_has_lost_is_reconciled_and_its_new_one() -> None:
    watched = DependentWatch(CONFIG_MAP, "", (("metadata", "ownerReferences"),))
    metadata = owned_by("w")
    metadata["ownerReferences"][0]["controller"] = True
    lost = Change(CONFIG_MAP, config_map("a", metadata), config_map("a", {"namespace": "ns"}))
    assert told(router().dependent(watched, lost)) == [(key("w"), "ConfigMap c metadata.ownerReferences changed")]
    other = owned_by("v")
    other["ownerReferences"][0]["controller"] = True
    found = told(router().dependent(watched, Change(CONFIG_MAP, config_map("a", metadata), config_map("a", other))))
    assert [name for name, _ in found] == [key("v"), key("w")]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        (None, config_map(), []),  # the play itself created it
        (config_map(), None, ["w"]),
        (config_map(), config_map("b"), ["w"]),
        (config_map(), {**config_map(), "status": {"a": "b"}}, []),
        (config_map(), config_map("b", owned_by("gone")), ["w"]),
        (config_map(), config_map("a", owned_by("v")), ["w", "v"]),
        (config_map("a", owned_by("w", "v")), config_map("b", owned_by("w", "v")), ["w", "v"]),
        (config_map("a", {"namespace": "ns"}), config_map("b", {"namespace": "ns"}), []),
        (config_map("a", owned_by("gone")), None, []),
        (
            config_map(),
            config_map(
                "b",
                {
                    "namespace": "other",
                    "annotations": {
                        "operator-sdk/primary-resource": "ns/v",
                        "operator-sdk/primary-resource-type": "Widget.example.com",
                    },
                },
            ),
            ["w", "v"],
        ),
    ],
)
def test_a_used_kind_reconciles_its_owners(old: Any, new: Any, names: list[str]) -> None:
    reason = "ConfigMap c deleted" if new is None else "ConfigMap c changed"
    found = dict.fromkeys(router().used_kind(Change(CONFIG_MAP, old, new)))
    assert told(found) == [(key(name), reason) for name in names]


def test_an_owner_of_the_same_name_is_another_one() -> None:
    metadata = owned_by("w")
    metadata["ownerReferences"][0]["uid"] = "another"
    assert not list(router().used_kind(Change(CONFIG_MAP, config_map("a", metadata), None)))


def test_a_change_that_is_not_understood_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(routing, "dependent_reason", lambda old, new, fields: 1 / 0)
    found = router().used_kind(Change(CONFIG_MAP, None, config_map()))
    assert told(found) == [(key("w"), "ConfigMap event that was not understood")]
    assert "an event of ConfigMap (v1) was not understood" in caplog.text
