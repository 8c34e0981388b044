"""``aifactory demo``."""

from pathlib import Path

from aifactory.cli.examples import example_folder
from aifactory.cli.shell import FAILED, OK, Json, call, err, out, read_environment, write_json


def demo_command(
    file: Path | None = None, *, type: str = "course", topic: str | None = None, as_json: Json = False
) -> int:
    """Turn a document into a course, a quiz or another type, offline, and show everything that happened.

    Parameters
    ----------
    file
        A Markdown, HTML, reStructuredText or plain text file; by default an example about drinking water,
        or with a topic none.
    type
        course, quiz, flashcards, document, learning_path, knowledge_map, workflow, novel, or a type that was
        added to this database.
    topic
        What it is about. Without a file the result is a frame: what to find out, and no facts.
    as_json
        Print the result as JSON.
    """
    from aifactory import demo_view
    from aifactory.demo import run_demo

    path = file or (None if topic else example_folder() / "drinking-water.md")
    settings = read_environment(quiet=True)
    with err.status("starting") as status:
        code, result = call(
            run_demo, settings, path=path, structure_type=type, topic=topic, tell=status.update
        )
    if result is None:
        return code
    if as_json:
        write_json(demo_view.as_json(result))
    else:
        demo_view.show(out, result)
    return OK if result.good else FAILED
