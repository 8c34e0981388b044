"""One measure of ours, in a process of its own: ``python -m bench.child MODULE:FUNCTION``.

Its arguments come as a line of JSON by the standard input; what the coroutine function returns is printed so.
"""

import importlib
import json
import logging
import sys

import anyio
import structlog


def main() -> None:
    """Read, work, print."""
    module, _, function = sys.argv[1].partition(":")
    work = getattr(importlib.import_module(module), function)
    arguments = json.loads(sys.stdin.readline())
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )

    async def run() -> object:
        return await work(**arguments)

    print(json.dumps(anyio.run(run, backend_options={"use_uvloop": True})))


# Local steps run in worker processes, which import this module again.
if __name__ == "__main__":
    main()
