"""Requests of steps that run one at a time."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from ansible_collections.taskflow.operator.plugins.module_utils._pod.resources import keep_largest_requests
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tasks.factory import build, container_of, make_step, make_task


def box(name="a", requests=None, limits=None):
    resources = {**({"requests": requests} if requests else {}), **({"limits": limits} if limits else {})}
    return {"name": name, **({"resources": resources} if resources else {})}


def requests_of(containers):
    return [(c.get("resources") or {}).get("requests") for c in containers]


@pytest.mark.parametrize(
    ("containers", "requests"),
    [
        pytest.param([box(requests={"cpu": "1"})], [{"cpu": "1"}], id="one"),
        pytest.param(
            [box(requests={"cpu": "100m"}), box(requests={"cpu": "1"}), box(requests={"cpu": "0.5"})],
            [{"cpu": "0"}, {"cpu": "1"}, {"cpu": "0"}],
            id="quantities are compared, not texts",
        ),
        pytest.param(
            [box(requests={"cpu": "2", "memory": "1Mi"}), box(requests={"cpu": "1", "memory": "1Gi"})],
            [{"cpu": "2", "memory": "0"}, {"cpu": "0", "memory": "1Gi"}],
            id="each resource by itself",
        ),
        pytest.param(
            [box(requests={"memory": "1Gi"}), box(requests={"memory": "1G"})],
            [{"memory": "1Gi"}, {"memory": "0"}],
            id="binary and decimal",
        ),
        pytest.param(
            [box(requests={"cpu": "1"}), box(requests={"cpu": "1000m"})], [{"cpu": "1"}, {"cpu": "0"}], id="the first"
        ),
        pytest.param(
            [box(limits={"memory": "1Gi"}), box(requests={"memory": "1Mi"})],
            [{"memory": "1Gi"}, {"memory": "0"}],
            id="a limit without a request is one",
        ),
        pytest.param(
            [box(limits={"cpu": "4"}, requests={"cpu": "1"}), box(requests={"cpu": "2"})],
            [{"cpu": "0"}, {"cpu": "2"}],
            id="a request counts, not the limit beside it",
        ),
        pytest.param([box(), box(requests={"cpu": "1"})], [None, {"cpu": "1"}], id="who asks for nothing is untouched"),
        pytest.param([box(requests={"cpu": 1}), box(requests={"cpu": 2})], [{"cpu": "0"}, {"cpu": 2}], id="numbers"),
        pytest.param([box(requests={"cpu": "0"})], [{"cpu": "0"}], id="zero"),
    ],
)
def test_only_the_largest_request_stays(containers, requests):
    before = copy.deepcopy(containers)
    assert requests_of(keep_largest_requests(containers)) == requests
    assert containers == before


def test_limits_stay():
    containers = [box(limits={"cpu": "1", "memory": "1Gi"}), box(limits={"cpu": "2"})]
    assert [c["resources"]["limits"] for c in keep_largest_requests(containers)] == [
        {"cpu": "1", "memory": "1Gi"},
        {"cpu": "2"},
    ]


def test_where_nobody_asks_nothing_changes():
    containers = [box("a"), {"name": "b", "resources": {}}]
    assert keep_largest_requests(containers) == containers


@pytest.mark.parametrize("quantity", ["lots", "1Xi", "", "1,5"])
def test_a_bad_quantity_is_named(quantity):
    with pytest.raises(InvalidSpec, match=r"memory.*is no quantity"):
        keep_largest_requests([box("a", {"cpu": "1"}), box("b", {"memory": quantity})])


def test_only_the_policy_max_changes_requests():
    steps = [make_step(n, resources={"requests": {"cpu": c}}) for n, c in (("a", "1"), ("b", "2"))]
    sidecar = make_step("s", resources={"requests": {"cpu": "3"}})

    def cpus(**spec):
        pod = build(make_task(*steps, sidecars=[sidecar], **spec))
        return [container_of(pod, name)["resources"]["requests"]["cpu"] for name in "abs"]

    assert cpus() == cpus(resourcePolicy="Sum") == ["1", "2", "3"]
    # A sidecar runs beside every step.
    assert cpus(resourcePolicy="Max") == ["0", "2", "3"]


QUANTITIES = st.integers(1, 5000).map(lambda n: f"{n}m")


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(["cpu", "memory"]), QUANTITIES), min_size=1, max_size=5))
def test_what_the_pod_asks_for_is_what_its_largest_step_does(asked):
    after = requests_of(keep_largest_requests([box(requests=r) for r in asked]))
    for resource in ("cpu", "memory"):
        wanted = [int(r[resource][:-1]) for r in asked if resource in r]
        got = [int(r[resource].rstrip("m")) for r in after if r and resource in r]
        assert sum(got) == max(wanted, default=0)
        assert len(got) == len(wanted)


def test_extended_resources_and_huge_pages_are_left_alone():
    boxes = [box("a", {"nvidia.com/gpu": "1", "cpu": "1"}), box("b", {"nvidia.com/gpu": "1", "cpu": "2"})]
    requests = [x["resources"]["requests"] for x in keep_largest_requests(boxes)]
    assert requests == [{"nvidia.com/gpu": "1", "cpu": "0"}, {"nvidia.com/gpu": "1", "cpu": "2"}]
