"""The watches file: what is taken, what is refused, and what the message says."""

from pathlib import Path

import pytest

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Finalizer, WatchesFile, expand_environment, load_watches
from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import GroupVersionKind

MINIMUM = {
    "group": "example.com",
    "version": "v1",
    "kind": "Widget",
    "playbook": "play.yml",
    "manageStatus": "false",
    "watchDependentResources": "false",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a playbook, a role and a collection."""
    for file in ("play.yml", "col/ansible_collections/ns/tools/playbooks/widget.yml"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[]\n")
    for folder in ("roles/local", "elsewhere/far", "elsewhere/roles/farther"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "col/ansible_collections/ns/tools/roles/tool").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, **environ: str) -> WatchesFile:
    Path("watches.yaml").write_text(text)
    search = {"ANSIBLE_COLLECTIONS_PATH": "col", "ANSIBLE_ROLES_PATH": "elsewhere"}
    return load_watches("watches.yaml", {**search, **environ})


def entry(**changes: str | None) -> str:
    """A watches file of one entry: the minimum, with fields changed, added or (None) left out."""
    fields = {**MINIMUM, **changes}
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    return "- " + "\n  ".join(lines) + "\n"


def test_defaults() -> None:
    (watch,) = load(entry()).watches
    assert watch.gvk == GroupVersionKind("example.com", "v1", "Widget")
    assert watch.command.playbook == str(Path("play.yml").absolute())
    assert watch.command.role is None
    assert (watch.max_runner_artifacts, watch.snake_case_parameters) == (20, True)
    assert (watch.reconcile_period, watch.max_concurrent, watch.verbosity) == (None, None, None)
    assert not watch.watch_annotations_changes and not watch.dependents and not watch.vars


def test_every_field() -> None:
    text = entry(
        vars="{a: {b: [1]}}",
        maxRunnerArtifacts="3",
        reconcilePeriod="1m30s",
        snakeCaseParameters="false",
        watchAnnotationsChanges="true",
    )
    environ = {
        "MAX_CONCURRENT_RECONCILES_WIDGET_EXAMPLE_COM": "7",
        "ANSIBLE_VERBOSITY_WIDGET_EXAMPLE_COM": "0",
    }
    (watch,) = load(text, **environ).watches
    assert watch.vars == {"a": {"b": [1]}} and type(watch.vars["a"]) is dict
    assert (watch.max_runner_artifacts, watch.reconcile_period) == (3, 90.0)
    assert not watch.snake_case_parameters and watch.watch_annotations_changes
    assert (watch.max_concurrent, watch.verbosity) == (7, 0)


def test_core_group_and_zero_artifacts() -> None:
    (watch,) = load(entry(group=None, kind="Secret", maxRunnerArtifacts="0")).watches
    assert watch.gvk.group == "" and watch.gvk.api_version == "v1"
    assert watch.max_runner_artifacts == 20


def test_watch_dependents() -> None:
    text = """
- {group: example.com, version: v1, kind: Widget, playbook: play.yml, manageStatus: false, watchDependents: [
    {version: v1, kind: Pod, labelSelector: {matchLabels: {a: b}, matchExpressions: [
      {key: c, operator: In, values: [d, e]}, {key: f, operator: Exists}, {key: g, operator: DoesNotExist}]},
     fields: [status.phase, "metadata.annotations[a.com/x]", [data, "a[b].c"]], finalizer: a.com/kept},
    {group: apps, version: v1, kind: Deployment}]}
"""
    pod, deployment = load(text).watches[0].dependents
    assert pod.gvk == GroupVersionKind("", "v1", "Pod")
    assert pod.label_selector == "a=b,c in (d,e),f,!g"
    assert pod.fields == (("status", "phase"), ("metadata", "annotations", "a.com/x"), ("data", "a[b].c"))
    assert pod.finalizer == "a.com/kept"
    assert deployment.fields is None and deployment.label_selector == "" and deployment.finalizer == ""


def test_defaults_of_what_shapes_a_run() -> None:
    (watch,) = load(entry(manageStatus=None, watchDependentResources=None)).watches
    assert watch.manage_status and watch.watch_dependent_resources and watch.api_proxy
    assert not watch.watch_cluster_scoped_resources and not watch.mark_unsafe
    assert (watch.blacklist, watch.selector, watch.finalizer) == (frozenset(), "", None)
    assert (watch.batch, watch.run_timeout) == (1, None)


def test_every_field_of_what_shapes_a_run() -> None:
    text = entry(
        watchClusterScopedResources="true",
        markUnsafe="true",
        blacklist="[{version: v1, kind: Pod}, {group: apps, version: v1, kind: Deployment}]",
        selector="{matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}",
        batch="50",
        apiProxy="false",
        runTimeout="1h30m",
    )
    (watch,) = load(text).watches
    assert not watch.manage_status and not watch.watch_dependent_resources and not watch.api_proxy
    assert watch.watch_cluster_scoped_resources and watch.mark_unsafe
    assert watch.blacklist == {GroupVersionKind("", "v1", "Pod"), GroupVersionKind("apps", "v1", "Deployment")}
    assert (watch.selector, watch.batch, watch.run_timeout) == ("a=b,c", 50, 5400.0)


@pytest.mark.parametrize(
    ("text", "playbook", "role", "variables"),
    [
        ("{name: example.com/f}", None, None, {}),
        ("{name: example.com/f, vars: {state: absent}}", None, None, {"state": "absent"}),
        ("{name: example.com/f, playbook: play.yml, role: none}", "{here}/play.yml", None, {}),
        ("{name: example.com/f, playbook: ns.tools.widget}", "ns.tools.widget", None, {}),
        ("{name: example.com/f, role: local}", None, "{here}/roles/local", {}),
        ("{name: example.com/f, role: ns.tools.tool}", None, "ns.tools.tool", {}),
    ],
)
def test_finalizer(text: str, playbook: str | None, role: str | None, variables: dict[str, str], project: Path) -> None:
    (watch,) = load(entry(finalizer=text)).watches
    expected = Command(*(path and path.format(here=project) for path in (playbook, role)))
    assert watch.finalizer == Finalizer("example.com/f", expected if expected != Command() else None, variables)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"playbook": "ns.tools.widget"}, ("ns.tools.widget", None)),
        ({"playbook": "play.yml", "role": "nothing"}, ("{here}/play.yml", None)),
        ({"playbook": None, "role": "ns.tools.tool"}, (None, "ns.tools.tool")),
        ({"playbook": None, "role": "local"}, (None, "{here}/roles/local")),
        ({"playbook": None, "role": "far"}, (None, "{here}/elsewhere/far")),
        ({"playbook": None, "role": "farther"}, (None, "{here}/elsewhere/roles/farther")),
        ({"playbook": None, "role": "elsewhere/far"}, (None, "{here}/elsewhere/far")),
    ],
)
def test_command_lookup(command: dict[str, str | None], expected: tuple[str | None, str | None], project: Path) -> None:
    (watch,) = load(entry(**command)).watches
    assert (watch.command.playbook, watch.command.role) == tuple(
        path and path.format(here=project) for path in expected
    )


def test_roles_are_looked_up_in_order(project: Path) -> None:
    places = [
        "col2/ansible_collections/ns/tools/roles/same",
        "col/ansible_collections/ns/tools/roles/same",
        "first/ns.tools.same",
        "first/roles/ns.tools.same",
        "elsewhere/ns.tools.same",
        "roles/ns.tools.same",
        "ns.tools.same",
    ]
    for place in places:
        (project / place).mkdir(parents=True)
    search = {"ANSIBLE_COLLECTIONS_PATH": "col2:col", "ANSIBLE_ROLES_PATH": "first:elsewhere"}
    found = []
    for place in places:
        found.append(load(entry(playbook=None, role="ns.tools.same"), **search).watches[0].command.role)
        (project / place).rmdir()
    assert found == ["ns.tools.same"] * 2 + [str(project / place) for place in places[2:]]
    with pytest.raises(ConfigError, match=r"there is no role ns.tools.same; searched: .*first/ns.tools.same, "):
        load(entry(playbook=None, role="ns.tools.same"), **search)


def test_collection_from_ansible_cfg(project: Path) -> None:
    (project / "ansible.cfg").write_text("[defaults]\ncollections_path = col\n")
    Path("watches.yaml").write_text(entry(playbook="ns.tools.widget"))
    assert load_watches("watches.yaml", {}).watches[0].command.playbook == "ns.tools.widget"


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"kind": None}, 1, "entry 1: kind: is required"),
        ({"version": "''"}, 2, "version: is required"),
        ({"group": None, "version": "example.com/v1"}, 1, "version: must be the version alone"),
        ({"playbook": None}, 1, "playbook: is required (or a role)"),
        ({"playbook": "no.yml"}, 4, "playbook: there is no playbook /"),
        (
            {"playbook": "ns.tools.other"},
            4,
            "playbook: no collection has the playbook ns.tools.other; searched: /",
        ),
        ({"playbook": None, "role": "none"}, 6, "role: there is no role none; searched: /"),
        ({"manageStatus": "'no'"}, 5, "manageStatus: must be true or false, not 'no'"),
        ({"selector": "{a: b}"}, 7, "selector: unknown key 'a'; the keys are matchLabels and matchExpressions"),
        ({"finalizer": "a/b"}, 7, "finalizer: must be a mapping, not 'a/b'"),
        ({"finalizer": "{vars: {a: b}}"}, 7, "finalizer: name: is required"),
        ({"finalizer": "{name: ''}"}, 7, "finalizer: name: is required"),
        ({"finalizer": "{name: 'a b'}"}, 7, "finalizer: name: must be a name such as example.com/finalizer, not 'a b'"),
        ({"finalizer": "{name: a/b, playbook: no.yml}"}, 7, "finalizer: playbook: there is no playbook /"),
        ({"finalizer": "{name: a/b, role: none}"}, 7, "finalizer: role: there is no role none; searched: /"),
        ({"finalizer": "{name: a/b, vars: [a]}"}, 7, "finalizer: vars: must be a mapping, not ['a']"),
        ({"selector": "{matchLabels: [a]}"}, 7, "selector: matchLabels must map label names to strings"),
        ({"selector": "a=b"}, 7, "selector: must be a mapping, not 'a=b'"),
        ({"blacklist": "{kind: Pod}"}, 7, "blacklist: must be a list, not {'kind': 'Pod'}"),
        ({"blacklist": "[Pod]"}, 7, "blacklist: item 1 must be a mapping, not 'Pod'"),
        ({"blacklist": "[{version: v1}]"}, 7, "blacklist item 1: kind: is required"),
        ({"markUnsafe": "1"}, 7, "markUnsafe: must be true or false, not 1"),
        ({"apiProxy": "1"}, 7, "apiProxy: must be true or false, not 1"),
        ({"batch": "0"}, 7, "batch: must be a whole number, 1 or more, not 0"),
        ({"batch": "many"}, 7, "batch: must be a whole number, 1 or more, not 'many'"),
        ({"runTimeout": "-1s"}, 7, "runTimeout: '-1s' is negative"),
        ({"reconcilePeriod": "soon"}, 7, "reconcilePeriod: 'soon' is not a duration such as 10h"),
        ({"reconcilePeriod": "60"}, 7, "reconcilePeriod: must be a duration such as 10h"),
        ({"maxRunnerArtifacts": "-1"}, 7, "maxRunnerArtifacts: must be a whole number"),
        ({"maxRunnerArtifacts": "true"}, 7, "maxRunnerArtifacts: must be a whole number"),
        ({"vars": "{a: !!binary YQ==}"}, 7, "vars: can't be written as JSON: Object of type bytes"),
        ({"vars": "{a: .nan}"}, 7, "vars: can't be written as JSON: Out of range float"),
        ({"vars": "[a]"}, 7, "vars: must be a mapping, not ['a']"),
        ({"watchDependents": "[1]"}, 7, "watchDependents: item 1 must be a mapping, not 1"),
        ({"watchDependents": "[{kind: Pod}]"}, 7, "watchDependents item 1: version: is required"),
        (
            {"watchDependents": "[{version: v1, kind: Pod, fields: [a..b]}]"},
            7,
            "fields: 'a..b' is not a path such as status.phase",
        ),
        (
            {"watchDependents": "[{version: v1, kind: Pod, fields: [1]}]"},
            7,
            "fields: must be paths such as status.phase, or lists of keys, not 1",
        ),
        (
            {"watchDependents": "[{version: v1, kind: Pod, fields: [[a, '']]}]"},
            7,
            "fields: must be paths such as status.phase, or lists of keys, not ['a', '']",
        ),
        (
            {"watchDependents": "[{version: v1, kind: Pod, labelSelector: {a: b}}]"},
            7,
            "labelSelector: unknown key 'a'",
        ),
        (
            {"watchDependents": "[{version: v1, kind: Pod, finalizer: a b}]"},
            7,
            "watchDependents item 1: finalizer: must be a name such as example.com/finalizer, not 'a b'",
        ),
    ],
)
def test_refused_with_place_and_field(changes: dict[str, str | None], line: int, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(entry(**changes))
    assert str(refusal.value).startswith(f"watches.yaml:{line}: entry 1")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "watches.yaml: must be a list of watches"),
        ("a: b", "watches.yaml: must be a list of watches"),
        ("- a", "watches.yaml: entry 1 must be a mapping"),
        ("- a: b\n  a: c", "watches.yaml:2: the key 'a' appears twice"),
        ("- a: [", "watches.yaml:1: "),
        ("- 1.5: b", "watches.yaml:1: the key 1.5 is not a string"),
        ("- a: b\n--- 1", "watches.yaml:2: "),
        (
            entry() + entry(),
            "watches.yaml:9: entry 2: kind: Widget (example.com/v1) is already watched by an earlier",
        ),
    ],
)
def test_refused_file(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(text)
    assert str(refusal.value).startswith(message)


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match="watches file none: can't be read: No such file"):
        load_watches("none", {})


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "9" * 5000])
def test_bad_override_names_the_variable(value: str) -> None:
    with pytest.raises(ConfigError, match="MAX_CONCURRENT_RECONCILES_WIDGET_EXAMPLE_COM: must be a whole"):
        load(entry(), MAX_CONCURRENT_RECONCILES_WIDGET_EXAMPLE_COM=value)


def test_unknown_keys_are_warnings() -> None:
    text = entry(
        colour="red",
        watchDependents="[{version: v1, kind: Pod, size: 1}]",
        blacklist="[{version: v1, kind: Pod, size: 2}]",
        finalizer="{name: a/b, size: 3}",
    )
    assert load(text).warnings == tuple(
        f"watches.yaml:{line}: entry 1, Widget (example.com/v1): {field}: unknown field, ignored"
        for line, field in [
            (7, "colour"),
            (8, "watchDependents item 1: size"),
            (9, "blacklist item 1: size"),
            (10, "finalizer: size"),
        ]
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A-${A}", "1-1"),
        ("${NONE} $NONE", "${NONE} ${NONE}"),
        ("$AB $A.B", "${AB} 1.B"),
        ("$(params.x) $", "$(params.x) $"),
        ("a${A}b", "a1b"),
    ],
)
def test_expand_environment(text: str, expanded: str) -> None:
    assert expand_environment(text, {"A": "1"}) == expanded


def test_environment_in_a_field() -> None:
    assert load(entry(kind="$KIND"), KIND="Gadget").watches[0].gvk.kind == "Gadget"


def test_plain_values_are_read_as_the_operator_sdk_does() -> None:
    text = (
        "{date: 2024-01-01, time: 12:30, at: 2001-12-14t21:59:43.10-05:00, n: -3, f: 1e3, o: 010, b: yes, 8: x, on: y}"
    )
    assert load(entry(vars=text)).watches[0].vars == {
        "date": "2024-01-01",
        "time": "12:30",
        "at": "2001-12-14t21:59:43.10-05:00",
        "n": -3,
        "f": 1000.0,
        "o": 8,
        "b": True,
        "8": "x",
        "true": "y",
    }


def test_merged_keys_may_be_overridden() -> None:
    text = entry().replace("- ", "- &all\n  ", 1) + "- {<<: *all, kind: Gadget, vars: {<<: {a: 1, b: 1}, b: 2}}\n"
    widget, gadget = load(text).watches
    assert (gadget.gvk.kind, gadget.vars) == ("Gadget", {"a": 1, "b": 2})
    assert gadget.command == widget.command


def test_case_of_keys_does_not_matter() -> None:
    text = entry(
        kind=None, Kind="Gadget", manageStatus=None, managestatus="false", BLACKLIST="[{Version: v1, KIND: Pod}]"
    )
    (watch,) = load(text).watches
    assert (watch.gvk.kind, watch.blacklist) == ("Gadget", {GroupVersionKind("", "v1", "Pod")})


def test_a_key_in_two_spellings_counts_in_the_right_one() -> None:
    loaded = load(entry(KIND="Gadget"))
    assert loaded.watches[0].gvk.kind == "Widget"
    assert loaded.warnings == ("watches.yaml:7: entry 1, Widget (example.com/v1): KIND: unknown field, ignored",)


def test_old_name_of_an_override_is_a_warning() -> None:
    variables = {"WORKER_WIDGET_EXAMPLE_COM": "3"}
    loaded = load(entry(), **variables)
    assert loaded.watches[0].max_concurrent == 3
    assert loaded.warnings == (
        "environment variable WORKER_WIDGET_EXAMPLE_COM: is deprecated, "
        "use MAX_CONCURRENT_RECONCILES_WIDGET_EXAMPLE_COM",
    )
    loaded = load(entry(), **variables, MAX_CONCURRENT_RECONCILES_WIDGET_EXAMPLE_COM="4")
    assert loaded.watches[0].max_concurrent == 4 and not loaded.warnings
    with pytest.raises(ConfigError, match="WORKER_WIDGET_EXAMPLE_COM: must be a whole number, 1 or more"):
        load(entry(), WORKER_WIDGET_EXAMPLE_COM="x")
