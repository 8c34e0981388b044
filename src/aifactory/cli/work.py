"""Commands about requests: submit, watch, cancel, retry, result, export."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from aifactory.cli.arguments import read_labels, read_moment, read_parameters
from aifactory.cli.remote import ask
from aifactory.cli.shell import FAILED, OK, Flag, Json, Url, err, out, write_json
from aifactory.cli.watching import tell_still_running, watch
from aifactory.client import AIFactory, Execution, Request, Source, Text, WaitTimedOut
from aifactory.client.models import GOOD_STATES, StageOutput

Pairs = Annotated[list[str] | None, Parameter(negative=())]


def _refuse_options(_: object, value: Path) -> None:
    """Let ``-`` through, and nothing else that looks like an option."""
    if str(value).startswith("-") and value != Path("-"):
        raise ValueError(f"There is no option {value}.")


def _read_wait(_: object, tokens: Sequence[Token]) -> bool | int:
    """Return True for ``--wait`` alone, or its whole seconds."""
    if tokens[0].implicit_value is True:
        return True
    if not (tokens[0].value.isascii() and tokens[0].value.isdigit()):
        raise ValueError("it takes whole seconds, or nothing; name the file before it.")
    return int(tokens[0].value[:9])


Wait = Annotated[bool | int, Parameter(negative=(), converter=_read_wait, metavar="[SECONDS]")]
SourceFile = Annotated[Path, Parameter(allow_leading_hyphen=True, validator=_refuse_options)]


def submit_command(
    template: str,
    file: SourceFile | None = None,
    *,
    topic: str | None = None,
    param: Pairs = None,
    metadata: Pairs = None,
    urgency: Literal["low", "normal", "high", "urgent"] | None = None,
    accuracy: Literal["normal", "high"] | None = None,
    deadline: str | None = None,
    run_after: str | None = None,
    wait: Wait = False,
    watch: Flag = False,
    dry_run: Flag = False,
    idempotency_key: str | None = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Send a request, by default without waiting for its end.

    Parameters
    ----------
    template
        A name that `aifactory templates` lists.
    file
        Source material, Markdown or plain text; - is the standard input.
    topic
        What it is about.
    param
        A parameter as name=value, with dots for nested ones; can be given several times.
    metadata
        A label as name=value; can be given several times.
    urgency
        low, normal, high or urgent.
    accuracy
        normal or high.
    deadline
        When it is of no use any more: 2026-12-01T18:00Z, or from now 90m, 6h, 2d.
    run_after
        When it may start, told like a deadline.
    wait
        Wait for the end, or at most so many seconds, and show the result; what has not ended goes on.
    watch
        Show the progress until the end.
    dry_run
        Check and price it; nothing is stored.
    idempotency_key
        The same key again gives the same request again.
    """

    def work(factory: AIFactory) -> int:
        parameters = read_parameters(param or []) | ({"topic": topic} if topic else {})
        made = factory.submit(
            template,
            parameters,
            source=_source(file),
            urgency=urgency,
            accuracy=accuracy,
            deadline=read_moment("--deadline", deadline),
            run_after=read_moment("--run-after", run_after),
            metadata=read_labels(metadata or []),
            dry_run=dry_run,
            idempotency_key=idempotency_key,
        )
        if dry_run or not (wait or watch):
            return _show_made(made, as_json=as_json)
        seconds = None if wait is True or watch else wait
        return _follow(factory, made, live=watch, seconds=seconds, as_json=as_json)

    return ask(work, url=url, as_json=as_json)


def _source(file: Path | None) -> Source | None:
    if file == Path("-"):
        return Text(text=sys.stdin.read(), name="stdin")
    return file


def _show_made(made: Request, *, as_json: bool) -> int:
    _show_request(made, as_json=as_json)
    if not (made.dry_run or as_json):
        out.print(f"next: aifactory watch {made.id}", soft_wrap=True)
    return OK


def _show_request(made: Request, *, as_json: bool) -> None:
    if as_json:
        write_json(made)
    elif made.dry_run:
        out.print(
            f"{made.template}: estimated ${made.estimated_cost_usd:f}, at most ${made.worst_cost_usd:f}"
        )
    else:
        cost = "" if made.held_cost_usd is None else f" · held ${made.held_cost_usd:f}"
        start = "" if made.run_after is None else f" · from {made.run_after.astimezone():%Y-%m-%d %H:%M:%S}"
        out.print(f"{made.id} {made.state}{start}{cost}", soft_wrap=True)


def _follow(factory: AIFactory, made: Request, *, live: bool, seconds: float | None, as_json: bool) -> int:
    if live:
        if not as_json:
            _show_request(made, as_json=False)
        code = watch(factory, made.id, as_json=as_json)
        if code in (OK, FAILED) and not as_json:
            _show_result(factory, made.id, as_json=False)
        return code
    try:
        factory.wait(made.execution_id or made.id, timeout=seconds)
    except WaitTimedOut:
        tell_still_running(made.id)
        _show_request(made, as_json=as_json)
        return FAILED
    except KeyboardInterrupt:
        tell_still_running(made.id)
        raise
    return _show_result(factory, made.id, as_json=as_json)


def _show_result(factory: AIFactory, wanted: str, *, as_json: bool) -> int:
    found = factory.result(wanted)
    if as_json:
        write_json(found)
    else:
        out.print(f"{found.id} {found.state} · ${found.cost_usd:f}", soft_wrap=True)
        for reason in found.reasons:
            out.print(f"{reason.code}: {reason.message}", markup=False, soft_wrap=True)
        for stage in found.stages:
            _show_stage(stage, alone=len(found.stages) == 1)
    return OK if found.state in GOOD_STATES else FAILED


def _show_stage(stage: StageOutput, *, alone: bool) -> None:
    if not alone:
        why = f": {stage.reasons[0].message}" if stage.state == "skipped" and stage.reasons else ""
        named = f"stage {stage.ordinal + 1} ({stage.name or stage.template})"
        out.print(f"{named} {stage.state}{why}", markup=False, soft_wrap=True)
    if stage.outputs.get("score") is not None:
        out.print(f"score {stage.outputs['score']} of 100", markup=False)
    if tree := stage.outputs.get("treeId"):
        kind = stage.name or stage.outputs.get("structureType", stage.ordinal)
        name = "content.md" if alone else f"{kind}.md"
        out.print(f"next: aifactory export {tree} --format markdown -o {name}", soft_wrap=True)


def list_command(
    *, state: str | None = None, limit: int | None = None, url: Url = None, as_json: Json = False
) -> int:
    """List requests, newest first.

    Parameters
    ----------
    state
        Only those in a state: queued, running, succeeded, partial, failed, cancelled or expired.
    limit
        How many, at most 100.
    """

    def work(factory: AIFactory) -> int:
        found = factory.list(state=state, limit=limit)
        if as_json:
            write_json(found)
            return OK
        for one in found:
            made = "" if one.created_at is None else f"{one.created_at.astimezone():%Y-%m-%d %H:%M}"
            cost = "" if one.cost_usd is None else f"  ${one.cost_usd:f}"
            out.print(f"{one.id}  {made}  {one.state:9}  {one.template}{cost}", markup=False, soft_wrap=True)
        return OK

    return ask(work, url=url, as_json=as_json)


def watch_command(id: str, *, url: Url = None, as_json: Json = False) -> int:
    """Show the progress of a request or an execution until its end; Ctrl-C leaves the work running.

    Parameters
    ----------
    id
        A request or an execution.
    as_json
        Print each event as a line of JSON.
    """

    def work(factory: AIFactory) -> int:
        code = watch(factory, id, as_json=as_json)
        if code in (OK, FAILED) and not as_json:
            _show_result(factory, id, as_json=False)
        return code

    return ask(work, url=url, as_json=as_json)


def cancel_command(id: str, *, url: Url = None, as_json: Json = False) -> int:
    """End a request's execution now and give back what it holds; twice is the same.

    Parameters
    ----------
    id
        A request or an execution.
    """

    def work(factory: AIFactory) -> int:
        found = factory.cancel(id)
        if found.state != "cancelled":
            err.print("It had ended before: there was nothing to cancel.", markup=False)
        return _show_execution(found, as_json=as_json)

    return ask(work, url=url, as_json=as_json)


def retry_command(id: str, *, url: Url = None, as_json: Json = False) -> int:
    """Execute a request again that ended without success.

    Parameters
    ----------
    id
        A request or an execution.
    """

    def work(factory: AIFactory) -> int:
        return _show_execution(factory.retry(id), as_json=as_json)

    return ask(work, url=url, as_json=as_json)


def _show_execution(found: Execution, *, as_json: bool) -> int:
    if as_json:
        write_json(found)
    else:
        out.print(f"{found.request_id} {found.state} · {found.id} · ${found.cost_usd:f}", soft_wrap=True)
    return OK


def result_command(id: str, *, url: Url = None, as_json: Json = False) -> int:
    """Show how a request ended: 0 with content, 1 without.

    Parameters
    ----------
    id
        A request or an execution.
    """
    return ask(lambda factory: _show_result(factory, id, as_json=as_json), url=url, as_json=as_json)


def export_command(
    id: str,
    *,
    format: str = "markdown",
    stage: str | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Fetch the content that a request brought.

    Parameters
    ----------
    id
        A tree, a request or an execution.
    format
        markdown, json, and what else the server exports.
    stage
        Of a pipeline: the stage's name.
    output
        The file to write; by default it is printed.
    as_json
        Say as JSON what was written.
    """

    def work(factory: AIFactory) -> int:
        found = factory.export(id, format, stage=stage)
        if output is not None:
            output.write_bytes(found.content)
        elif not as_json:
            sys.stdout.buffer.write(found.content)
            sys.stdout.flush()
        summary = {"output": output and str(output), "bytes": len(found.content), "losses": found.losses}
        if as_json:
            write_json(summary | {"mediaType": found.media_type})
        elif output is not None:
            losses = f"; this format leaves out {found.losses} things" if found.losses else ""
            out.print(f"written: {output} ({len(found.content):,} bytes{losses})", soft_wrap=True)
        return OK

    return ask(work, url=url, as_json=as_json)
