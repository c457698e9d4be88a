"""The extra vars of a run, as the Operator SDK's playbooks expect them."""

import pytest

from taskflow_controller.extra_vars import extra_vars, snake_case, snake_case_keys
from taskflow_controller.kinds import GroupVersionKind

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


def test_contract() -> None:
    spec = {"stepCount": 2, "inner": {"someKey": "x"}}
    obj = {"kind": "WidgetSet", "metadata": {"name": "w", "namespace": "ns"}, "spec": spec}
    assert extra_vars(WIDGET, obj, snake_case_parameters=True, watch_vars={"extra": True}) == {
        "step_count": 2,
        "inner": {"some_key": "x"},
        "ansible_operator_meta": {"name": "w", "namespace": "ns"},
        "_my_group_example_com_widgetset": obj,
        "_my_group_example_com_widgetset_spec": spec,
        "extra": True,
    }


def test_unconverted_core_kind_without_spec() -> None:
    obj = {"metadata": {"name": "s", "namespace": "ns"}, "data": {"aB": "x"}}
    variables = extra_vars(GroupVersionKind("", "v1", "Secret"), obj, snake_case_parameters=False, watch_vars={})
    assert variables["__secret"] == obj and variables["__secret_spec"] == {}
    obj = {"metadata": {"name": "w"}, "spec": {"aKey": 1, "ansible_operator_meta": "forged"}}
    variables = extra_vars(WIDGET, obj, snake_case_parameters=False, watch_vars={"aKey": 2})
    assert variables["aKey"] == 2
    assert variables["ansible_operator_meta"] == {"name": "w", "namespace": ""}
