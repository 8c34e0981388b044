"""A process of the fleet that a test may stop or kill: ``python -m tests.process URL MODE``.

``idle``, ``statement``, ``result``: becomes the decider and stops itself (SIGSTOP) inside its tick: idle in
the transaction, inside a statement, or while it reads a large result. ``run``: starts what is queued and
never ends it. ``sibling``: runs one of a stage's two jobs, settles it when a line tells it to, and says how
often it advanced the stage. Says ``ready`` when it is where it should be.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog
from tests.fake_worker import ScriptedWorker

from aifactory.kernel.db import Database, Tx
from aifactory.resources.engine import Engine
from aifactory.resources.interface import Job, Outcome
from aifactory.resources.queries import snapshot as queries

STATEMENTS = {
    "statement": "SELECT pg_sleep(1.5)",
    "result": "SELECT repeat('x', 1000) FROM generate_series(1, 100000)",
}


def stop_self() -> None:
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


async def settle_when_told(engine: Engine, worker: ScriptedWorker) -> None:
    await engine.tick()
    while not engine.runner.idle:
        await anyio.lowlevel.checkpoint()
    print("ready", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    await engine.runner.settle_ended()
    print(f"advanced {len(worker.advanced)}", flush=True)


async def main(url: str, mode: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    worker = ScriptedWorker({"write": 2} if mode == "sibling" else None)

    async def hang(job: Job) -> Outcome:
        print("ready", flush=True)
        await anyio.sleep_forever()
        raise AssertionError

    if mode != "sibling":
        worker.on_run = hang
    engine = Engine(
        database=Database(url=url),
        workers={"granulation": worker},
        slots=1 if mode == "sibling" else 8,
        local_slots=1,
        grace_seconds=0,
    )
    load_lanes = queries.load_lanes

    async def stop_in_the_middle(tx: Tx, **options: Any) -> Any:
        if mode == "idle":
            stop_self()
        else:
            # The statement is sent at once; the process stops before it reads the first byte of the answer.
            asyncio.get_running_loop().call_soon(stop_self)
            await tx.raw.execute(STATEMENTS[mode])
        return await load_lanes(tx, **options)

    if mode in ("idle", *STATEMENTS):
        queries.load_lanes = stop_in_the_middle
    await engine.lease.round()
    async with anyio.create_task_group() as tasks:
        engine._tasks = tasks
        if mode == "sibling":
            await settle_when_told(engine, worker)
        else:
            await engine.tick()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
