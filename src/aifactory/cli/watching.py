"""Progress on a terminal as a bar, elsewhere as lines, as JSON with ``--json``."""

import logging
from collections.abc import Iterator
from contextlib import closing

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aifactory.cli.shell import FAILED, INTERRUPTED, OK, err, out, write_json
from aifactory.client import AIFactory, ConnectionFailed, Event, Reason, ServerError
from aifactory.client.models import GOOD_STATES, EventData


def watch(factory: AIFactory, wanted: str, *, as_json: bool) -> int:
    """Show what happens until the end; return the exit code of how it ended. Ctrl-C leaves the work alone."""
    try:
        state = _show(factory, wanted, as_json=as_json)
    except KeyboardInterrupt:
        tell_still_running(wanted)
        return INTERRUPTED
    return OK if state in GOOD_STATES else FAILED


def tell_still_running(wanted: str) -> None:
    """Say how to come back, and how to end it."""
    err.print(
        f"It goes on. `aifactory watch {wanted}` shows it again, `aifactory cancel {wanted}` ends it.",
        markup=False,
        soft_wrap=True,
    )


class _OnTerminal(logging.Handler):
    """Prints what the client notes."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(record.getMessage(), style="yellow", markup=False, soft_wrap=True)


def _tell_outages() -> None:
    log = logging.getLogger("aifactory.client")
    log.handlers = [_OnTerminal()]
    log.propagate = False
    log.setLevel(logging.INFO)


def _show(factory: AIFactory, wanted: str, *, as_json: bool) -> str:
    state = ""
    _tell_outages()
    with closing(factory.events(wanted)) as events:
        try:
            if as_json:
                state = _as_json(events)
            elif out.is_terminal:
                state = _as_bar(events)
            else:
                state = _as_lines(events)
        except (ConnectionFailed, ServerError) as error:
            err.print(f"No live events ({error.code}); asking instead.", style="yellow", markup=False)
    if not state:
        ended = factory.wait(wanted)
        state = ended.state
        if as_json:
            write_json(ended)
        else:
            cost = f" · ${ended.cost_usd:f}"
            out.print(f"{state} · {ended.progress.jobs_done}/{ended.progress.jobs_total} jobs{cost}")
    return state


def _as_json(events: Iterator[Event]) -> str:
    state = ""
    for event in events:
        write_json(event)
        state = event.data.state if event.last else ""
    return state


def _as_lines(events: Iterator[Event]) -> str:
    state = ""
    for event in events:
        if event.last:
            state = event.data.state
        else:
            moment = event.timestamp.astimezone().strftime("%H:%M:%S")
            out.print(f"{moment}  {line_of(event)}", markup=False, soft_wrap=True)
    return state


def line_of(event: Event) -> str:
    """Return an event in words: what happened, to which stage or kind of job, how far it is, its cost."""
    data, words = event.data, [event.type.replace(".", " ")]
    if data.stage is not None:
        words.append(_stage_of(data))
    if data.kind:
        words.append(data.kind)
    if data.attempt and data.attempt > 1:
        words.append(f"attempt {data.attempt}")
    if data.progress is not None:
        words.append(f"{data.progress.jobs_done}/{data.progress.jobs_total} jobs")
    if data.cost_usd is not None:
        words.append(f"${data.cost_usd:f}")
    return " · ".join([*words, *map(_words, data.reasons)])


def _stage_of(data: EventData) -> str:
    called = data.name or data.worker
    return f"stage {(data.stage or 0) + 1}" + (f" ({called})" if called else "")


def _words(reason: Reason | str) -> str:
    return reason if isinstance(reason, str) else reason.message or reason.code


def _as_bar(events: Iterator[Event]) -> str:
    state = ""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jobs {task.fields[cost]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("waiting", total=None, cost="")
        stage = ""
        for event in events:
            data = event.data
            state = data.state if event.last else ""
            if event.type.startswith("stage.started") and data.stage is not None:
                stage = f" · {_stage_of(data)}"
            if data.progress is not None:
                bar.update(task, completed=data.progress.jobs_done, total=data.progress.jobs_total or None)
            cost = "" if data.cost_usd is None else f"· ${data.cost_usd:f}"
            bar.update(task, description=f"{data.state}{stage}", cost=cost)
    return state
