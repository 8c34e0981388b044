"""What the first commands of a newcomer rest on: the Makefile's help, and pinned requirements."""

import re
import subprocess

import pytest
from tests.e2e.running import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
# Names at the start of a line before a colon; not variables, special targets or files.
TARGETS = set(re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.MULTILINE))


def test_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.stdout.splitlines()}
    assert listed.keys() == TARGETS
    assert all(listed.values())
    assert {"help", "demo", "run", "test", "lint"} <= TARGETS


def test_every_target_is_phony() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_with_hashes_and_names_no_host(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    entries = re.sub(r"\\\n", " ", text).splitlines()
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"^[a-z0-9][\w.\[\]-]*==\S+", entry), entry
        assert re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", entry), entry
    assert "://" not in text
    assert "index-url" not in text
    assert "find-links" not in text
    assert " @ " not in text


def test_every_requirement_of_the_package_is_pinned_for_development_too() -> None:
    runtime, development = (
        set(re.findall(r"^\S+==[^\s;]+", (REPOSITORY / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert runtime <= development
