"""Every command of the pages for operators works as it stands there."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
from tests.factories import World

from aifactory.resources.gates import Gate

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
PAGES = [
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("operating.md", "budgets.md", "retention.md")
]
COMMANDS = [command for page in PAGES for command in re.findall(r"^\$ (curl .+)$", page, re.MULTILINE)]


async def test_every_command_of_the_pages_succeeds_in_its_order(world: World) -> None:
    (session,) = world.admin.items()
    (key,) = world.ours.key.values()
    given = {
        "$AIFACTORY_API_KEY": key,
        "$AIFACTORY_URL": "",
        "$ADMIN": ": ".join(session),
        "$CLIENT": world.ours.id,
    }
    found = []
    for command in COMMANDS:
        for name, value in given.items():
            command = command.replace(name, value)
        words = shlex.split(command)
        method, url, body, headers = "GET", "", "", {}
        for flag, word in itertools.pairwise(words):
            if flag == "-X":
                method = word
            elif flag == "-d":
                body = (ROOT / word[1:]).read_text(encoding="utf-8") if word.startswith("@") else word
            elif flag == "-H":
                headers.update([word.split(": ", 1)])
            elif word.startswith("/"):
                url = word
        if url.endswith("/content"):
            url += "?cancelUnfinished=true"  # what the commands before submitted still waits here
        answer = await world.ask(method, url, headers=headers, content=body or None)
        found.append((command, answer.status_code))
    assert len(found) >= 17
    assert [one for one in found if one[1] not in (200, 201, 202, 204)] == []


def test_the_page_names_every_gate_that_a_check_can_tell() -> None:
    told = set(re.findall(r"`(\w+)`", PAGES[0].partition("## What a client can ask")[2]))
    never = {Gate.CLIENT_SUSPENDED, Gate.BIG_JOB}  # a suspended client is refused; who waits is not looked at
    assert {gate.value for gate in Gate} - never - told == set()
