"""Write docs/api.md and docs/builds.md: the text of their templates, with tables made from the CRDs.

A field's description may end with "If wrong: ...", which gets a column of its own. In the template, a line
``<!-- table: NAME -->`` stands where a table goes, and ``<!-- note: ... -->`` is left out of the document.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import re
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]

Schema = dict[str, t.Any]

# The table of the resource's own fields.
RESOURCE = "resource"
# Steps and sidecars have the fields of the stepTemplate too. One table shows them, with the paths of a step's.
SHARED, SHARING = "spec.stepTemplate", ("spec.steps[]", "spec.sidecars[]")
# The API server refuses a schema that describes the metadata.
UNDESCRIBED = "metadata"

LIMITS = ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
UNITS = {"string": " characters", "array": " items"}
AS_IN_CORE = ("As in a core/v1", "as in a core/v1")

_MARKER = re.compile(r"^<!-- table: (?P<name>\S+) -->$", re.MULTILINE)
_NOTE = re.compile(r"<!-- note: .*?-->\n*", re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
# What is shown as code: $(...), paths, dotted names, and names with a capital inside.
_CODE = re.compile(
    r"\$+\([\w.-]*\)?"
    r"|(?<!\w)(?:/[a-z][\w-]*)+"
    r"|\b(?:spec|status|podTemplate)\.[\w.\[\]]*\w"
    r"|\bapi\.practice\.com/[a-z0-9-]+"
    r"|\b[a-z]+[A-Z]\w*"
)


class DocsError(Exception):
    """The document can't be made."""


@dataclasses.dataclass(frozen=True)
class Page:
    """A document, and what it is made of: a CRD in crd/, and a template beside it."""

    crd: str
    document: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / "docs" / self.document

    @property
    def sources(self) -> str:
        """What to change in its place."""
        return f"crd/{self.crd} and docs/{self.document}.in"

    def template(self) -> str:
        """Return the template's text."""
        return self.path.with_name(f"{self.document}.in").read_text()

    def schema(self) -> Schema:
        """Return the schema of the resource."""
        return load_schema(ROOT / "crd" / self.crd)

    def text(self) -> str:
        """Return the whole document. Raises DocsError."""
        first_line = f"<!-- Made by `make docs-api` from {self.sources}: change those. -->\n"
        try:
            return first_line + document(self.schema(), self.template())
        except DocsError as error:
            raise DocsError(f"{self.sources}: {error}") from error


TASKS, BUILDS = PAGES = (Page("task.yaml", "api.md"), Page("build.yaml", "builds.md"))


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of the resource.

    Attributes:
        path: where it is, such as spec.steps[].timeout.
        schema: its schema.
        required: True where the API takes no object without it.
    """

    path: str
    schema: Schema
    required: bool

    @property
    def name(self) -> str:
        """The field's own name."""
        return self.path.rpartition(".")[2]

    @property
    def table(self) -> str:
        """The name of the table that shows the field: the path of the object that has it."""
        return self.path.rpartition(".")[0] or RESOURCE

    @property
    def is_status(self) -> bool:
        """Whether the operator writes it, and nobody can get it wrong."""
        return self.path.split(".")[0] == "status"


def load_schema(path: Path) -> Schema:
    """Return the schema of the resource."""
    crd = yaml.safe_load(path.read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def fields_of(schema: Schema, path: str = "") -> t.Iterator[Field]:
    """Yield every field of the schema, each followed by those inside of it."""
    for name, inner in (schema.get("properties") or {}).items():
        field = Field(f"{path}.{name}" if path else name, inner, name in schema.get("required", ()))
        yield field
        yield from fields_of(inner, field.path)
        yield from fields_of(inner.get("items") or {}, f"{field.path}[]")


def undescribed(schema: Schema) -> list[str]:
    """Return the paths of the fields that have no description."""
    return [f.path for f in fields_of(schema) if not f.schema.get("description") and f.path != UNDESCRIBED]


def shown_fields(schema: Schema) -> list[Field]:
    """Return the fields as the document shows them: those that steps and sidecars share with the stepTemplate once."""
    fields = list(fields_of(schema))
    shared = {field.name: field.schema for field in fields if field.table == SHARED}
    return [f for f in fields if f.table not in SHARING or shared.get(f.name) != f.schema]


def split_description(schema: Schema) -> tuple[str, str]:
    """Return what a field is, and what happens when it is wrong: empty where its description does not tell."""
    what, _words, wrong = " ".join(schema.get("description", "").split()).partition("If wrong: ")
    return what.strip(), wrong.removesuffix(".")


def when_wrong(field: Field) -> str:
    """Return what happens when a field is wrong, from its description, or else from its schema."""
    what, wrong = split_description(field.schema)
    path = field.path.replace(SHARED + ".", "spec.steps.").replace("[]", "")
    refused = f"the API refuses it: `{path}`"
    if wrong:
        return marked_up(wrong).replace("the API refuses it", refused, 1)
    if field.required or any(limit in field.schema for limit in LIMITS):
        return refused
    if field.schema["type"] not in ("boolean", "integer") and any(words in what for words in AS_IN_CORE):
        return "the API refuses the Pod: STATUS Failure, reason Refused, with its words"
    return f"not {_article(type_name(field.schema))}: {refused}"


def type_name(schema: Schema) -> str:
    """Return the type of a field in words."""
    if schema["type"] == "array":
        return f"list of {type_name(schema['items'])}s"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {type_name(schema['additionalProperties'])}s"
    if schema.get("format") == "date-time":
        return "time"
    return str(schema["type"])


def limits_of(schema: Schema) -> str:
    """Return what limits a field's values, in words; empty where nothing does."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    words = []
    least, most = (
        next((schema[key] for key in keys if key in schema), None)
        for keys in (("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems"))
    )
    unit = UNITS.get(schema["type"], "")
    if least is not None and most is not None:
        words.append(f"{least} to {most}{unit}")
    elif most is not None:
        words.append(f"at most {most}{unit}")
    elif least is not None:
        words.append("not empty" if unit and least == 1 else f"at least {least}{unit}")
    if "pattern" in schema:
        words.append(_code(schema["pattern"]))
    return ", ".join(words)


def marked_up(text: str) -> str:
    """Return a description as Markdown for the cell of a table: names as code, nothing taken for markup."""
    parts, end = [], 0
    for match in _CODE.finditer(text):
        parts += [_escaped(text[end : match.start()]), _code(match[0])]
        end = match.end()
    return "".join([*parts, _escaped(text[end:])])


def table_of(fields: t.Sequence[Field], anchors: t.Mapping[str, str]) -> str:
    """Return the table of one object's fields. ``anchors`` leads to the tables of the objects inside of it."""
    columns = ["field", "type", "default", "what it is", "when it is wrong"]
    rows = [[f"`{f.name}`", _type_cell(f, anchors), _default_cell(f), _what_cell(f), when_wrong(f)] for f in fields]
    if fields[0].is_status:
        columns, rows = ["field", "type", "what it is"], [[row[0], row[1], row[3]] for row in rows]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def document(schema: Schema, template: str) -> str:
    """Return a template with the tables in their places.

    Raises:
        DocsError: a field has no description, or the template has no place for a table, or one for none.
    """
    if missing := undescribed(schema):
        raise DocsError(f"no description: {', '.join(missing)}")
    tables: dict[str, list[Field]] = {}
    for field in shown_fields(schema):
        if field.path != UNDESCRIBED:
            tables.setdefault(field.table, []).append(field)
    text = _NOTE.sub("", template)
    anchors = {match["name"]: _anchor_before(text, match.start()) for match in _MARKER.finditer(text)}
    if homeless := tables.keys() - anchors.keys():
        raise DocsError(f"no line <!-- table: ... --> for {', '.join(sorted(homeless))}")
    if unknown := anchors.keys() - tables.keys():
        raise DocsError(f"no such object in the CRD: {', '.join(sorted(unknown))}")
    return _MARKER.sub(lambda match: table_of(tables[match["name"]], anchors), text)


def _anchor_before(text: str, position: int) -> str:
    """Return the anchor, as GitHub makes it, of the last heading before a position."""
    title = [match["title"] for match in _HEADING.finditer(text, 0, position)][-1]
    return "#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _type_cell(field: Field, anchors: t.Mapping[str, str]) -> str:
    words = type_name(field.schema)
    inner = next((path for path in (field.path, f"{field.path}[]") if path in anchors), None)
    if inner:
        words = f"[{words}]({anchors[inner]})"
    limits = limits_of(field.schema)
    return f"{words}: {limits}" if limits else words


def _default_cell(field: Field) -> str:
    if field.required:
        return "required"
    return _code(_as_yaml(field.schema["default"])) if "default" in field.schema else "none"


def _what_cell(field: Field) -> str:
    what = marked_up(split_description(field.schema)[0])
    example = field.schema.get("example")
    return what if example is None else f"{what} Example: {_code(_as_yaml(example))}"


def _as_yaml(value: t.Any) -> str:
    """Return a value on one line, as one may write it in a manifest."""
    if isinstance(value, str):
        return value if value and "\n" not in value else json.dumps(value)
    line: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return line.removesuffix("\n").removesuffix("\n...")


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<|])", r"\\\1", text)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def difference(page: Page, wanted: str) -> list[str]:
    """Return the lines that tell how a document is not what its sources give; none where it is."""
    present = page.path.read_text() if page.path.exists() else ""
    lines = difflib.unified_diff(present.splitlines(), wanted.splitlines(), lineterm="", n=0)
    changed = [line for line in lines if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))]
    if not changed:
        return []
    told = [f"api_docs: docs/{page.document} is not what {page.sources} give; run `make docs-api`:", *changed]
    return told[:11]


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Write the documents, or with --check tell whether they are up to date. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/api.md and docs/builds.md from the CRDs and templates.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a document is out of date")
    check = parser.parse_args(arguments).check
    failed = False
    for page in PAGES:
        try:
            wanted = page.text()
        except DocsError as error:
            print(f"api_docs: {error}", file=sys.stderr)
            return 1
        if not check:
            page.path.write_text(wanted)
        elif told := difference(page, wanted):
            print("\n".join(told), file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
