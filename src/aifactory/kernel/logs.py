"""Structured logs: one JSON line per event on standard error, or plain text on a terminal."""

import contextlib
import logging
import sys
from typing import Any, TextIO

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# Without locals: they hold prompts and secrets.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class _Lines:
    """Writes to a stream; a line that can't be written (the disk is full, the reader has gone) is lost.

    A log that fails must not turn into answers of 500, or into the end of a loop.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def configure_logs(*, level: str) -> None:
    """Set up structlog for the process; ``level`` is one of LEVELS, anything else means info."""
    on_terminal = sys.stderr.isatty()
    # It writes a plain line for every malformed request.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [_TRACEBACKS]),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if on_terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(level, logging.INFO)),
        logger_factory=_lines,
        cache_logger_on_first_use=True,
    )


def _lines(*_: Any) -> _Lines:
    return _Lines(sys.stderr)
