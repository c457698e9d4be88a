"""The site of the documentation: a page for each module, each page in the menu, no link that leads nowhere."""

from __future__ import annotations

import shutil

import pytest

from scripts import docs_site

DOCUMENTATION = {
    "doc": {
        "short_description": "Have a thing",
        "description": ["Has V(one) thing | or two, see O(things)."],
        "requirements": ["kubernetes >= 37"],
        "attributes": {"check_mode": {"support": "full", "description": "Changes nothing."}},
        "options": {
            "things": {
                "description": "Which of them.",
                "type": "list",
                "elements": "dict",
                "suboptions": {"a_b": {"description": ["One.", "Two."], "required": True, "choices": ["x", "y"]}},
            },
            "wait": {"description": "Whether to wait.", "type": "bool", "default": False},
        },
    },
    "examples": "\n- name: Have it\n",
    "return": {"found": {"description": "What was found.", "returned": "when V(wait)", "type": "str"}},
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Have a copy of what the site is made of, but for the modules, and the builder work on it."""
    for source in (*docs_site.published(), docs_site.ROOT / "mkdocs.yml"):
        target = tmp_path / source.relative_to(docs_site.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (tmp_path / "build").mkdir()
    monkeypatch.setattr(docs_site, "ROOT", tmp_path)
    monkeypatch.setattr(docs_site, "BUILD", tmp_path / "build")
    monkeypatch.setattr(docs_site, "ansible_doc", lambda: {"taskflow.operator.thing": DOCUMENTATION})
    return tmp_path


def test_the_page_of_a_module_has_all_that_its_documentation_has():
    page = docs_site.module_page("taskflow.operator.thing", DOCUMENTATION)
    assert page.startswith("# taskflow.operator.thing\n\nHave a thing.\n")
    assert "- needs kubernetes &gt;= 37\n" in page
    assert "- check&#95;mode: full. Changes nothing.\n" in page
    assert "| `things[].a_b` | str, one of <code>x</code>, <code>y</code>, required | One.<br>Two. |\n" in page
    assert "| `wait` | bool, default <code>false</code> | Whether to wait. |\n" in page
    assert "```yaml\n- name: Have it\n```\n" in page
    assert "| `found` | str<br>returned: when " in page


def test_no_text_ends_a_cell_of_a_table():
    assert "|" not in docs_site.inline("this | that", "a.b.c")


def test_wrong_markup_is_an_error_that_names_the_module():
    with pytest.raises(docs_site.SiteError, match=r"^a\.b\.c: "):
        docs_site.inline("M(no module)", "a.b.c")


def test_the_site_has_each_page_and_fetches_nothing(checkout, capfd):
    assert docs_site.main() == 0, capfd.readouterr().err
    assert str(checkout / "build/site/index.html") in capfd.readouterr().out
    site = checkout / "build/site"
    for page in ("docs/modules/thing.html", "docs/quick-start.html", "roles/taskflow_operator/index.html"):
        html = (site / page).read_text()
        assert 'src="http' not in html
        assert 'rel="stylesheet" href="http' not in html
    assert (site / "examples/task_params_example.yaml").is_file(), "a page links to it"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("install.md", "[there](nowhere.md)", "nowhere.md"),
        ("install.md", "[there](api.md#nowhere)", "#nowhere"),
        ("orphan.md", "# In no menu", "orphan.md"),
    ],
)
def test_what_a_reader_would_stumble_over_is_an_error(checkout, capfd, name, text, complaint):
    with (checkout / "docs" / name).open("a") as page:
        page.write(f"\n{text}\n")
    assert docs_site.main() != 0
    assert complaint in capfd.readouterr().err


def test_a_menu_without_a_place_for_the_modules_is_an_error(checkout, capsys):
    settings = checkout / "mkdocs.yml"
    settings.write_text(settings.read_text().replace("- Modules:", "- Others:"))
    assert docs_site.main() == 1
    assert "nav has no entry 'Modules'" in capsys.readouterr().err
