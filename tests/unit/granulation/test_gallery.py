"""The gallery holds what it says: five outputs in two forms, each of a named source with its licence."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[3] / "docs" / "gallery"
README = (GALLERY / "README.md").read_text(encoding="utf-8")
VOID = ("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "path", "source", "wbr")
ROW = re.compile(
    r"^\| \[(?P<name>[\w-]+)\]\((?P=name)\.html\), \[Markdown\]\((?P=name)\.md\) "
    r"\| (?P<type>[\w ]+) \| (?P<source>[^|]+) \| (?P<licence>[^|]+) \|$",
    re.MULTILINE,
)
ENTRIES = {found["name"]: found for found in ROW.finditer(README)}


class Balance(HTMLParser):
    """Counts what is open and collects what could be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name == "src"] + [tag] * (tag == "script")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_five_outputs_of_different_types_stand_in_it_and_nothing_else() -> None:
    assert len(ENTRIES) == 5
    assert len({found["type"] for found in ENTRIES.values()}) == 5
    kept = {path.name for path in GALLERY.iterdir()}
    assert kept == {"README.md", *(f"{name}.{form}" for name in ENTRIES for form in ("html", "md"))}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_output_is_whole_and_names_its_source_its_licence_and_its_command(name: str) -> None:
    page, markdown = ((GALLERY / f"{name}.{form}").read_text(encoding="utf-8") for form in ("html", "md"))
    reader = Balance()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert reader.loaded == []
    title = markdown.splitlines()[0].removeprefix("# ").replace("\\", "")
    assert title in reader.text
    assert len(markdown.splitlines()) > 40
    file = re.search(r"`(?:\S*/)?([^`/]+)`", ENTRIES[name]["source"])
    assert file is not None
    assert f"from {file[1]}" in markdown.replace("\\", "")
    assert ENTRIES[name]["licence"].strip()
    for form in ("html", "md"):
        assert re.search(rf"^aifactory granulate \S+ .*-o docs/gallery/{name}\.{form}$", README, re.MULTILINE)
