"""The extra vars of a run, as the Operator SDK's playbooks expect them."""

from typing import Any

import pytest

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Finalizer, Watch
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.runs.extra_vars import extra_vars, marked, snake_case, snake_case_keys

WIDGET = GroupVersionKind("my-group.example.com", "v1", "WidgetSet")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("var", "var"),
        ("888", "888"),
        ("k8s_var", "k8s_var"),
        ("_k8s_var", "_k8s_var"),
        ("k8s var", "k8s_var"),
        ("my-key", "my_key"),
        ("appService", "app_service"),
        ("aBc", "a_bc"),
        ("JSONData", "_json_data"),
        ("sizeK8sBuckets", "size_k8s_buckets"),
        ("ThisShouldHaveUnderscores", "_this_should_have_underscores"),
        ("_CanYou_Handle_mixedVars", "_can_you_handle_mixed_vars"),
        ("egressIPs", "egress_ips"),
        ("egressIPsEgress", "egress_ips_egress"),
        ("egressIPsegress", "egress_ips_egress"),
        ("IPsegress", "_ips_egress"),
        ("egressIP", "egress_ip"),
        ("egressIPEgress", "egress_ip_egress"),
        ("egressIPegress", "egress_ip_egress"),
        ("this_stays", "this_stays"),
        ("app_8sk_", "app_8sk_"),
        ("ipAddress", "ip_address"),
        ("HTTPServer", "http_server"),
        ("podIPs", "pod_ips"),
        ("URL", "url"),
        ("A", "_a"),
        ("URLegressIPEgressHTTP", "url_egress_ip_egress_http"),
        ("URLsegressIPsEgressHTTPs", "_urls_egress_ips_egress_https"),
        ("THIS_IS_SKIP_NOT_SK_IP", "_this_is_skip_not_sk_ip"),
        ("", ""),
    ],
)
def test_snake_case(key: str, expected: str) -> None:
    assert snake_case(key) == expected


def test_snake_case_keys_at_every_depth() -> None:
    assert snake_case_keys({"aKey": [{"bKey": "keepThis"}], "c": 1}) == {
        "a_key": [{"b_key": "keepThis"}],
        "c": 1,
    }


def watch(gvk: GroupVersionKind = WIDGET, **changes: Any) -> Watch:
    fields: dict[str, Any] = {
        "command": Command("/p.yml"),
        "vars": {},
        "reconcile_period": None,
        "max_runner_artifacts": 20,
        "snake_case_parameters": True,
        "watch_annotations_changes": False,
        "dependents": (),
        "max_concurrent": None,
        "verbosity": None,
    }
    return Watch(gvk=gvk, **{**fields, **changes})


def widget(**spec: Any) -> dict[str, Any]:
    return {"kind": "WidgetSet", "metadata": {"name": "w", "namespace": "ns"}, "spec": spec}


def test_contract() -> None:
    obj = widget(stepCount=2, inner={"someKey": "x"})
    assert extra_vars(watch(vars={"extra": True}), obj) == {
        "step_count": 2,
        "inner": {"some_key": "x"},
        "ansible_operator_meta": {"name": "w", "namespace": "ns"},
        "_my_group_example_com_widgetset": obj,
        "_my_group_example_com_widgetset_spec": {"stepCount": 2, "inner": {"someKey": "x"}},
        "extra": True,
    }


def test_core_kind_without_spec() -> None:
    obj = {"metadata": {"name": "s", "namespace": "ns"}, "data": {"aB": "x"}}
    variables = extra_vars(watch(GroupVersionKind("", "v1", "Secret")), obj)
    assert variables["__secret"] == obj and variables["__secret_spec"] == {}


def test_spec_that_is_no_mapping_counts_as_empty() -> None:
    assert extra_vars(watch(), {**widget(), "spec": ["a"]})["_my_group_example_com_widgetset_spec"] == {}


def test_unconverted_on_request() -> None:
    variables = extra_vars(
        watch(snake_case_parameters=False), {"metadata": {"name": "w"}, "spec": {"aKey": {"bKey": 1}}}
    )
    assert variables["aKey"] == {"bKey": 1} and "a_key" not in variables
    assert variables["ansible_operator_meta"] == {"name": "w", "namespace": ""}


LAYERS = ["ansible_operator_meta", "_my_group_example_com_widgetset", "_my_group_example_com_widgetset_spec"]


@pytest.mark.parametrize("layer", LAYERS)
def test_spec_cannot_take_the_place_of_what_the_controller_says(layer: str) -> None:
    assert extra_vars(watch(snake_case_parameters=False), widget(**{layer: "forged"}))[layer] != "forged"


@pytest.mark.parametrize("layer", [*LAYERS, "a_key"])
def test_vars_win_over_all_that_comes_from_the_resource(layer: str) -> None:
    assert extra_vars(watch(vars={layer: "v"}), widget(aKey="spec"))[layer] == "v"


def test_finalizer_vars_win_over_vars_in_the_finalizers_run_only() -> None:
    finalizer = Finalizer("example.com/f", None, {"state": "absent", "only": 1})
    finalized = watch(vars={"state": "present"}, finalizer=finalizer)
    assert extra_vars(finalized, widget())["state"] == "present"
    assert "only" not in extra_vars(finalized, widget())
    variables = extra_vars(finalized, widget(), finalizing=True)
    assert (variables["state"], variables["only"]) == ("absent", 1)


def test_what_comes_from_the_resource_is_marked_on_request() -> None:
    variables = extra_vars(
        watch(mark_unsafe=True, vars={"v": "{{ a }}"}, finalizer=Finalizer("f", None, {"f": "{{ a }}"})),
        widget(aKey="x", items=["y", 1, True, None, {"bKey": "z"}], ansible_connection="ssh"),
        finalizing=True,
    )
    text = {key: {"__ansible_unsafe": key} for key in "xyz"}
    assert variables["a_key"] == text["x"]
    assert variables["items"] == [text["y"], 1, True, None, {"b_key": text["z"]}]
    assert variables["_my_group_example_com_widgetset"]["metadata"]["name"] == {"__ansible_unsafe": "w"}
    assert variables["_my_group_example_com_widgetset_spec"]["items"][4] == {"bKey": text["z"]}
    assert (variables["v"], variables["f"]) == ("{{ a }}", "{{ a }}")
    assert "ansible_connection" not in variables
    assert extra_vars(watch(), widget(ansible_connection="ssh"))["ansible_connection"] == "ssh"


def test_a_key_that_is_a_mark_itself_is_left_out() -> None:
    assert marked({"a": {"__ansible_unsafe": {}, "__ansible_vault": 1, "b": 2}}) == {"a": {"b": 2}}
