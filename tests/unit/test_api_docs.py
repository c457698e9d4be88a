"""docs/api.md and docs/builds.md tell of every field of the CRDs, and of every reason that there may be."""

from __future__ import annotations

import ast
import copy
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from scripts import api_docs

ROOT = Path(__file__).resolve().parents[2]
SCHEMA, BUILD_SCHEMA = api_docs.TASKS.schema(), api_docs.BUILDS.schema()
FIELDS = list(api_docs.fields_of(SCHEMA))
DOCUMENT, BUILDS_DOCUMENT = api_docs.TASKS.path.read_text(), api_docs.BUILDS.path.read_text()
TEMPLATE = api_docs.TASKS.template()
EXAMPLES = [
    (text, page.schema())
    for page in api_docs.PAGES
    for text in re.findall(r"^```yaml\n(.*?)^```$", page.template(), re.MULTILINE | re.DOTALL)
]

# What an OpenAPI v3 schema of a CRD may hold; anything else is a slip of the pen, such as a comma in a flow mapping.
KEYWORDS = {
    *("additionalProperties", "anyOf", "default", "description", "enum", "example", "format", "items", "maxItems"),
    *("maxLength", "maximum", "minItems", "minLength", "minimum", "not", "nullable", "pattern", "properties"),
    *("required", "type", "x-kubernetes-list-map-keys", "x-kubernetes-list-type"),
    "x-kubernetes-preserve-unknown-fields",
}


def with_error(monkeypatch, **schema):
    """Have a CRD with one more field in its spec."""
    changed = copy.deepcopy(SCHEMA)
    changed["properties"]["spec"]["properties"]["added"] = schema
    monkeypatch.setattr(api_docs, "load_schema", lambda path: changed if path.name == "task.yaml" else BUILD_SCHEMA)


def rows_below(heading, text=DOCUMENT):
    """Return the rows of the first table below a heading, as lists of cells."""
    section = text.split(f"\n{heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_document_is_what_the_crd_and_the_template_give(capsys):
    assert api_docs.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", api_docs.PAGES, ids=lambda page: page.document)
def test_every_field_down_to_the_leaves_has_a_row(page):
    markers = re.finditer(r"^<!-- table: (\S+) -->$", page.template(), re.MULTILINE)
    places = {match[1]: match.start() for match in markers}
    tables = dict(
        zip(places, re.findall(r"^\| field .*\n(?:\|.*\n)+", page.path.read_text(), re.MULTILINE), strict=True)
    )
    for field in api_docs.fields_of(page.schema()):
        parent, _, name = field.path.rpartition(".")
        candidates = [
            parent or "resource",
            *(["spec.stepTemplate"] if parent in ("spec.steps[]", "spec.sidecars[]") else []),
        ]
        found = any(f"\n| `{name}` | " in tables.get(table, "") for table in candidates)
        assert found or field.path == "metadata", f"{field.path} is in no table"


def test_every_field_of_the_spec_says_what_happens_when_it_is_wrong():
    for field in api_docs.shown_fields(SCHEMA):
        assert field.is_status or api_docs.when_wrong(field), field.path


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.path)
def test_examples_and_defaults_are_valid(field):
    for word in ("example", "default"):
        if word in field.schema:
            jsonschema.validate(field.schema[word], field.schema)
    is_shown_below = any(other.path.startswith((f"{field.path}.", f"{field.path}[].")) for other in FIELDS)
    assert is_shown_below or "example" in field.schema, f"{field.path} has no example"


def test_the_schema_holds_only_what_a_schema_may():
    both = [field for page in api_docs.PAGES for field in api_docs.fields_of(page.schema())]
    for field in [*both, api_docs.Field("", SCHEMA, True), api_docs.Field("", BUILD_SCHEMA, True)]:
        for schema in (field.schema, field.schema.get("items", {})):
            assert not schema.keys() - KEYWORDS, field.path


@pytest.mark.parametrize(("text", "schema"), EXAMPLES)
def test_the_examples_are_valid(text, schema):
    jsonschema.validate(yaml.safe_load(text), schema)


def test_a_field_without_a_description_is_refused(monkeypatch, capsys):
    with_error(monkeypatch, type="string")
    assert api_docs.main(["--check"]) == 1
    assert capsys.readouterr().err == "api_docs: crd/task.yaml and docs/api.md.in: no description: spec.added\n"


def test_a_document_that_is_out_of_date_is_refused_with_the_rows_that_differ(monkeypatch, capsys):
    with_error(monkeypatch, type="string", description="New.")
    assert api_docs.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "run `make docs-api`" in told and "+| `added` | string | none | New. |" in told


def test_an_object_without_a_place_in_the_template_is_refused(monkeypatch, capsys):
    inner = {"type": "string", "description": "Inside."}
    with_error(monkeypatch, type="object", description="New.", properties={"inner": inner})
    assert api_docs.main(["--check"]) == 1
    assert (
        capsys.readouterr().err
        == "api_docs: crd/task.yaml and docs/api.md.in: no line <!-- table: ... --> for spec.added\n"
    )


def test_a_place_in_the_template_for_nothing_is_refused():
    with pytest.raises(api_docs.DocsError, match=r"no such object in the CRD: spec\.gone"):
        api_docs.document(SCHEMA, TEMPLATE + "\n<!-- table: spec.gone -->\n")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "description": "What. If wrong: the API refuses it."}, "the API refuses it: `spec.x`"),
        ({"type": "string", "description": "What. If wrong: it fails; bad luck."}, "it fails; bad luck"),
        ({"type": "string", "description": "What."}, "not a string: the API refuses it: `spec.x`"),
        ({"type": "integer", "description": "What."}, "not an integer: the API refuses it: `spec.x`"),
        ({"type": "string", "description": "What.", "enum": ["a"]}, "the API refuses it: `spec.x`"),
        (
            {"type": "object", "description": "As in a core/v1 PodSpec."},
            "the API refuses the Pod: STATUS Failure, reason Refused, with its words",
        ),
        ({"type": "boolean", "description": "As in a core/v1 PodSpec."}, "not a boolean: the API refuses it: `spec.x`"),
    ],
)
def test_when_wrong(schema, expected):
    assert api_docs.when_wrong(api_docs.Field("spec.x", schema, False)) == expected


@pytest.mark.parametrize(
    ("schema", "type_name", "limits"),
    [
        ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, "list of strings", "at most 3 items"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "map of strings", ""),
        ({"type": "string", "format": "date-time"}, "time", ""),
        ({"type": "string", "minLength": 1}, "string", "not empty"),
        ({"type": "string", "pattern": "a|b"}, "string", "`a\\|b`"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, "integer", "0 to 9"),
        ({"type": "integer", "minimum": 1}, "integer", "at least 1"),
        ({"type": "string", "enum": ["A", "B"]}, "string", "`A`, `B`"),
    ],
)
def test_types_and_limits(schema, type_name, limits):
    assert (api_docs.type_name(schema), api_docs.limits_of(schema)) == (type_name, limits)


def test_names_in_descriptions_are_shown_as_code_and_nothing_is_taken_for_markup():
    text = "$(params.NAME) in onError, spec.volumes, /taskflow; $$( and api.practice.com/v1alpha1, a_b|c <d>."
    expected = "`$(params.NAME)` in `onError`, `spec.volumes`, `/taskflow`; `$$(` and `api.practice.com/v1alpha1`, "
    assert api_docs.marked_up(text) == expected + "a\\_b\\|c \\<d>."


# The reasons of the condition, in the document and in the code. What the two don't share is listed in the template.


def listed(name):
    """Return one of the template's lists of reasons."""
    return set(re.search(rf"^{name}:(.*)$", TEMPLATE, re.MULTILINE)[1].split())


def documented_reasons(text=DOCUMENT):
    return {reason for row in rows_below("### Reasons", text) for reason in row[1].split(", ")} - {"…"}


# What only Builds have to do with.
OF_BUILDS = "_build"


def modules(folder="plugins/module_utils", of_builds=False):
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [ast.parse(path.read_text()) for path in paths if (path.parent.name == OF_BUILDS) == of_builds]


def constants(folder):
    return {node.value for module in modules(folder) for node in ast.walk(module) if isinstance(node, ast.Constant)}


def words_in(node, assigned, seen=frozenset()):
    """Yield the CamelCase words that an expression may come to; names stand for all that is assigned to them."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and re.fullmatch(r"[A-Z][A-Za-z]+", str(inner.value)):
            yield inner.value
        elif isinstance(inner, ast.Name) and inner.id not in seen:
            for value in assigned.get(inner.id, []):
                yield from words_in(value, assigned, seen | {inner.id})


def assignments(module):
    """Yield the names that a module, or something in it, assigns to, and the values."""
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(names)
                if len(names) == len(values):
                    yield from ((n.id, v) for n, v in zip(names, values, strict=True) if isinstance(n, ast.Name))


def reasons_in(module):
    """Yield the reasons that a module gives: the second argument of Verdict, and the first of TaskError."""
    assigned = {}
    for name, value in assignments(module):
        assigned.setdefault(name, []).append(value)
    # A constant may be another module's.
    for other in [*modules(), *modules(of_builds=True)]:
        for name, value in assignments(other):
            if name.isupper():
                assigned.setdefault(name, []).append(value)
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Verdict", "TaskError", "super().__init__"):
            place = 1 if ast.unparse(node.func) == "Verdict" else 0
            named = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            for argument in [*node.args[place : place + 1], *named]:
                yield from words_in(argument, assigned)


def test_every_reason_in_the_table_is_one_that_the_code_can_produce():
    unknown = documented_reasons() - constants("plugins/module_utils")
    assert unknown <= listed("from Kubernetes")


def test_every_reason_of_a_step_in_the_table_is_one_of_the_agent_or_the_operator():
    reasons = {reason for row in rows_below("#### Reasons of a step") for reason in row[0].split(", ")}
    assert reasons <= constants("roles/taskflow_agent/files/agent/taskflow_agent") | constants(
        "plugins/module_utils/_task"
    )


def test_every_reason_of_the_code_is_in_the_table():
    code = {reason for module in modules() for reason in reasons_in(module)}
    assert "InvalidSpec" in code
    assert code - documented_reasons() <= listed("told otherwise")


def test_every_reason_of_a_build_is_in_its_table():
    code = {reason for module in modules(of_builds=True) for reason in reasons_in(module)}
    assert "SecretMissing" in code
    assert code <= documented_reasons(BUILDS_DOCUMENT)
