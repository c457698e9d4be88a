"""Build the documentation as a site: build/site, with a page for each module made from its DOCUMENTATION.

The pages are laid out below build/docs as they lie in the checkout, so that a link works in both. A warning, such as
of a link that leads nowhere or of a page that is in no menu, is an error.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from antsibull_docs_parser import dom, parser
from antsibull_docs_parser.html import to_html_plain

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
COLLECTION = "taskflow.operator"
PAGES = (
    "*.md",
    "docs/*.md",
    "roles/*/README.md",
    "dev/roles/taskflow_cluster/README.md",
    "examples/*/README.md",
    "molecule/README.md",
)
# A link from a page to a file of the checkout, or an image in it.
LINK = re.compile(r"\]\((?P<path>[^)#:]+)[)#]")
# The entry of the menu that the pages of the modules are put into, and their folder.
MODULES_ENTRY, MODULES_FOLDER = "Modules", "docs/modules"

Documentation = dict[str, t.Any]


class SiteError(Exception):
    """The site can't be built."""


def inline(text: str | list[str], module: str) -> str:
    """Return Ansible's markup as HTML that is left alone in a cell of a Markdown table.

    Raises SiteError with module and text where the markup is wrong.
    """
    paragraphs = [text] if isinstance(text, str) else text
    context = parser.Context(current_plugin=dom.PluginIdentifier(fqcn=module, type="module"))
    try:
        parsed = parser.parse([str(paragraph) for paragraph in paragraphs], context, errors="exception")
    except ValueError as error:
        raise SiteError(f"{module}: {error}") from error
    plain = to_html_plain(parsed, par_start="", par_end="", par_sep="<br>")
    for character in "|*_`":
        plain = plain.replace(character, f"&#{ord(character)};")
    return plain.replace("\n", " ")


def type_of(field: Documentation) -> str:
    """Return what a field may hold: its type, and whether it is required or what its default is."""
    parts = [str(field.get("type", "str"))]
    if "elements" in field:
        parts[0] += f" of {field['elements']}"
    if "choices" in field:
        parts.append("one of " + ", ".join(f"<code>{html.escape(str(choice))}</code>" for choice in field["choices"]))
    if field.get("required"):
        parts.append("required")
    if field.get("default") is not None:
        parts.append(f"default <code>{html.escape(json.dumps(field['default']))}</code>")
    return ", ".join(parts)


def rows(fields: dict[str, Documentation], module: str, prefix: str = "") -> t.Iterator[str]:
    """Yield the rows of a table of options or of return values, with those inside them below them."""
    for name, field in sorted(fields.items()):
        path = prefix + name
        kind = type_of(field)
        if "returned" in field:
            kind += "<br>returned: " + inline(field["returned"], module)
        yield f"| `{path}` | {kind} | {inline(field['description'], module)} |"
        inner = field.get("suboptions") or field.get("contains") or {}
        yield from rows(inner, module, f"{path}[]." if field.get("type") == "list" else f"{path}.")


def module_page(module: str, documentation: Documentation) -> str:
    """Return the page of a module, from what ansible-doc knows of it."""
    doc = documentation["doc"]
    lines = [f"# {module}", "", inline(doc["short_description"], module) + ".", ""]
    for paragraph in doc["description"]:
        lines += [inline(paragraph, module), ""]
    lines += [f"- needs {inline(need, module)}" for need in doc.get("requirements", [])]
    for name, attribute in sorted(doc.get("attributes", {}).items()):
        lines.append(f"- {inline(name, module)}: {attribute['support']}. {inline(attribute['description'], module)}")
    if doc.get("options"):
        lines += ["", "## Options", "", "| option | type | meaning |", "|---|---|---|", *rows(doc["options"], module)]
    lines += ["", "## Examples", "", "```yaml", documentation["examples"].strip(), "```"]
    if documentation.get("return"):
        lines += ["", "## What it returns", "", "| value | type | meaning |", "|---|---|---|"]
        lines += rows(documentation["return"], module)
    return "\n".join(lines) + "\n"


def ansible_doc() -> dict[str, Documentation]:
    """Return the documentation of each module of the collection, by its full name."""
    names = sorted(f"{COLLECTION}.{path.stem}" for path in (ROOT / "plugins/modules").glob("*.py"))
    command = ["ansible-doc", "--json", *names]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    documented = json.loads(answer.stdout) if answer.returncode == 0 else {}
    missing = [name for name in names if "doc" not in documented.get(name, {})]
    if missing:
        raise SiteError(f"ansible-doc does not know {', '.join(missing)}: {answer.stderr.strip()}")
    return t.cast(dict[str, Documentation], documented)


def published() -> set[Path]:
    """Return the pages, and the files of the checkout that they link to."""
    pages = {page for pattern in PAGES for page in ROOT.glob(pattern)}
    linked = {(page.parent / match["path"]).resolve() for page in pages for match in LINK.finditer(page.read_text())}
    return pages | {path for path in linked if path.is_file() and path.is_relative_to(ROOT)}


def lay_out(folder: Path, modules: dict[str, Documentation]) -> list[str]:
    """Copy the pages into the folder, write those of the modules, and return the latter's paths in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for source in published():
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    pages = []
    for module, documentation in sorted(modules.items()):
        page = f"{MODULES_FOLDER}/{module.removeprefix(COLLECTION + '.')}.md"
        (folder / page).parent.mkdir(exist_ok=True)
        (folder / page).write_text(module_page(module, documentation))
        pages.append(page)
    return pages


def settings(pages: list[str]) -> dict[str, t.Any]:
    """Return the settings of this build: those of mkdocs.yml, with the modules' pages in the menu."""
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    entry = next((entry for entry in menu if MODULES_ENTRY in entry), None)
    if entry is None:
        raise SiteError(f"mkdocs.yml: nav has no entry {MODULES_ENTRY!r} for the pages of the modules")
    entry[MODULES_ENTRY] += [{Path(page).stem: page} for page in pages]
    return {"INHERIT": "../mkdocs.yml", "docs_dir": "docs", "site_dir": "site", "nav": menu}


def main() -> int:
    """Build the site and print where it is; return the exit code."""
    try:
        pages = lay_out(BUILD / "docs", ansible_doc())
        (BUILD / "mkdocs.yml").write_text(yaml.safe_dump(settings(pages), sort_keys=False))
    except SiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(BUILD / "mkdocs.yml")]
    built = subprocess.run(command, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    if built.returncode == 0:
        print(f"documentation: {BUILD / 'site' / 'index.html'}")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main())
