"""``aifactory granulate``: a document becomes content with nothing running."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aifactory.cli.shell import (
    FAILED,
    OK,
    USAGE,
    Json,
    call,
    err,
    out,
    read_environment,
    tell_error,
    write_json,
)

if TYPE_CHECKING:
    from aifactory.demo import DemoResult

_SHORT = {"md": "markdown", "htm": "html"}


def granulate_command(
    file: Path | None = None,
    *,
    type: str = "course",
    topic: str | None = None,
    export: str = "md",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    offline: bool = False,
    as_json: Json = False,
) -> int:
    """Turn a document, or a topic alone, into content and export it, with nothing running.

    It runs here, in this process, with the configured model providers (AIFACTORY_PROVIDERS_FILE, or
    OPENAI_API_KEY); without any, the offline generator works from the document, or makes a
    frame of the topic: what to find out, and no facts.

    Parameters
    ----------
    file
        A Markdown, HTML, reStructuredText or plain text file; may be left out where there is a topic.
    type
        course, quiz, flashcards, document, learning_path, knowledge_map, workflow, novel, or a type that was
        added to this database.
    topic
        What it is about; by default the document says.
    export
        md or json, and what else the server exports.
    output
        The file to write; by default the export is printed.
    offline
        Ask no model.
    as_json
        Print what was done as JSON; the export then needs an output file.
    """
    from aifactory.demo import granulate_file
    from aifactory.granulation.exports import EXPORTS

    form = EXPORTS.get(_SHORT.get(export, export))
    if form is None:
        tell_error(f"--export is one of md, {', '.join(sorted(EXPORTS))}, not {export!r}.")
        return USAGE
    if file is None and not topic:
        tell_error("Name a file, or say with --topic what it is to be about.")
        return USAGE
    settings = read_environment(quiet=True)
    with err.status("starting") as status:
        code, result = call(
            granulate_file,
            settings,
            path=file,
            structure_type=type,
            parameters={"topic": topic} if topic else {},
            offline=offline,
            tell=status.update,
        )
    if result is None:
        return code
    if result.tree is not None and not _write(form.write(result.tree), output, printed=not as_json):
        return USAGE
    _show(result, output, as_json=as_json)
    return OK if result.good else FAILED


def _show(result: "DemoResult", output: Path | None, *, as_json: bool) -> None:
    from aifactory import demo_view

    written = output if result.tree is not None else None
    if as_json:
        write_json(demo_view.as_json(result) | {"exports": [str(written)] if written else []})
    else:
        demo_view.show_summary(err if output is None else out, result)
        if written is not None:
            out.print(f"written: {written}", markup=False, soft_wrap=True)


def _write(content: bytes, output: Path | None, *, printed: bool) -> bool:
    """Write or print an export; False if the file can't be written."""
    try:
        if output is not None:
            output.write_bytes(content)
        elif printed:
            sys.stdout.write(content.decode())
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        tell_error(f"{output} can't be written: {error.strerror or error}.")
        return False
    return True
