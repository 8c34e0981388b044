"""``aifactory submit --wait``: to the end, or for so many seconds."""

import pytest

from aifactory.cli import app, run_command


@pytest.mark.parametrize(
    ("arguments", "wait"),
    [
        (["--wait"], True),
        (["--wait", "30"], 30),
        (["--wait=30"], 30),
        (["--wait", "--json"], True),
        ([], None),
    ],
)
def test_wait_takes_seconds_or_nothing(arguments: list[str], wait: bool | int | None) -> None:
    _, bound, _ = app.parse_args(["submit", "quiz", "tides.txt", *arguments], exit_on_error=False)
    assert bound.arguments.get("wait") is wait or bound.arguments["wait"] == wait


@pytest.mark.parametrize("arguments", [["--wait", "tides.txt"], ["--wait=-1"], ["--no-wait"], ["--no-watch"]])
def test_what_is_no_time_to_wait_is_refused_in_words(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["submit", "quiz", *arguments]) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert ("takes whole seconds" in told) is arguments[0].startswith("--wait")
