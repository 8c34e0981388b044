"""AI Factory against a second, independent server: the LiteLLM proxy, with the simulated provider behind it.

A protocol-level run: LiteLLM's own HTTP, parsing, streaming and translation of errors are what our client
speaks to, and its calls are compared with the book of the provider behind it.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from aifactory.granulation.tree import Origin, walk
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ExecutionId
from aifactory.kernel.money import usd
from aifactory.resources.audit import audit
from aifactory.resources.interface import ExecutionView
from devprovider.running import Running
from devprovider.settings import Settings
from prove.books import Comparison, compare
from prove.databases import Databases
from prove.ground import FINE, Ground, Work, open_ground, tree_of
from prove.proxy import KEY, KEY_VARIABLE, UPSTREAM_KEY, VERSION, install, running_proxy
from prove.reporting import Option, Proof, Proven, counted

CACHE = Path(__file__).parents[1] / ".cache" / f"litellm-{VERSION}"
_WITHIN_SECONDS = 120
_TYPES = ("course", "quiz", "flashcards", "document")
_FAULTS = {"retry_after": 1, "retry_after_seconds": 0.5, "hang_seconds": 5}


# How our client has to take what LiteLLM makes of a fault behind it.
_OUTCOMES = {
    ("rate_limited", "streamed"): "rate_limited",
    ("rate_limited", "whole"): "rate_limited",
    ("server_error", "streamed"): "provider_error",
    ("server_error", "whole"): "provider_error",
    ("truncated", "streamed"): "truncated",
    ("truncated", "whole"): "truncated",
    ("garbage", "streamed"): "unreadable",
    ("garbage", "whole"): "unreadable",
    # Its words don't pass the proxy; what arrives is empty, and that is read as a refusal.
    ("refusal", "streamed"): "refused",
    ("refusal", "whole"): "refused",
    ("drop", "streamed"): "provider_error",
    ("drop", "whole"): "provider_error",
    ("hang", "streamed"): "timeout",
    ("hang", "whole"): "timeout",
}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is run in a database of its own.

    ``script``: faults of the first calls, in the provider behind the proxy. ``outcome``: how each call that
    meets one of them has to end, or every call when ``refused``.
    """

    name: str
    types: tuple[str, ...] = ("course", "quiz")
    script: tuple[str, ...] = ()
    streaming: bool = True
    structured: str = "json_schema"
    key: str = KEY
    upstream_key: str = UPSTREAM_KEY
    refused: bool = False
    outcome: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a case; ``broken``: promises that were not kept, in words."""

    name: str
    states: dict[str, int]
    outcomes: dict[str, int]
    calls: int
    tokens: int
    usage_arrived: int
    billed_nano: int
    books: Comparison
    circuit: str
    broken: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All cases, and what the proxy tried to send off this machine."""

    rows: tuple[Row, ...]
    outside: tuple[str, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Return every promise that was not kept."""
        cases = tuple(f"{row.name}: {words}" for row in self.rows for words in row.broken)
        return cases + tuple(f"the proxy asked for {line}" for line in self.outside)


def cases() -> tuple[Case, ...]:
    """Return what is run: types, ways to be told the shape, faults behind the proxy, wrong keys."""
    plain = (
        Case(name="streamed, json_schema", types=_TYPES),
        Case(name="whole, json_schema", types=_TYPES, streaming=False),
        Case(name="streamed, json_object", types=_TYPES, structured="json_object"),
        Case(name="streamed, text", types=_TYPES, structured="text"),
    )
    faulty = tuple(
        Case(
            name=f"{fault}, {way}",
            # A cut outline is given up sooner than a cut part.
            script=("", "", fault, fault, fault) if fault == "truncated" else (fault,) * 3,
            streaming=way == "streamed",
            outcome=_OUTCOMES[fault, way],
        )
        for fault, way in _OUTCOMES
    )
    wrong = (
        Case(name="wrong key behind it", upstream_key="another", refused=True, outcome="refused_key"),
        # Without a database of its own the proxy can't look a key up, and says 400.
        Case(name="wrong key", key="sk-another", refused=True, outcome="bad_request"),
    )
    return plain + faulty + wrong


async def run(databases: Databases, *, folder: Path = CACHE) -> Report:
    """Install the proxy if it is not there, run every case through it, judge each by the books."""
    command = await anyio.to_thread.run_sync(install, folder)
    with tempfile.TemporaryDirectory() as scratch, Running(Settings(key=UPSTREAM_KEY)) as provider:
        with running_proxy(command, folder=Path(scratch), behind=provider.url) as proxy:
            rows = [await _row(databases, provider, proxy.url, case) for case in cases()]
        return Report(rows=tuple(rows), outside=tuple(proxy.outside))


async def _row(databases: Databases, provider: Running, url: str, case: Case) -> Row:
    provider.reset()
    provider.configure(script=case.script, faults=_FAULTS, key=case.upstream_key)
    async with databases.fresh() as database:
        async with _ground(database, provider, url, case) as ground:
            ids = [await ground.submit(_work(kind)) for kind in case.types]
            ended = await ground.ended(ids, _WITHIN_SECONDS)
            broken = await _broken_results(ground, case, ids, ended)
        await _settled(database, provider, case)
        return await _judged(database, provider, case, ended, broken)


@asynccontextmanager
async def _ground(database: Database, provider: Running, url: str, case: Case) -> AsyncIterator[Ground]:
    seconds = 2 if "hang" in case.script else 20
    async with open_ground(
        database,
        provider,
        environ={KEY_VARIABLE: case.key},
        base_url=url,
        api_key_variable=KEY_VARIABLE,
        streaming=case.streaming,
        structured=case.structured,
        # A whole answer is waited for four times as long as a first token.
        first_token_seconds=seconds if case.streaming else seconds / 4,
        idle_seconds=seconds,
    ) as ground:
        yield ground


def _work(kind: str) -> Work:
    parameters = {"granularityLevel": 1, "topic": "Safe water", "validation": {"level": 1, "threshold": 0}}
    return Work(structure_type=kind, parameters=parameters, source="drinking-water.md")


async def _broken_results(
    ground: Ground, case: Case, ids: list[ExecutionId], ended: dict[ExecutionId, ExecutionView]
) -> list[str]:
    """Return what is wrong with the results: each ends with a valid tree, the model's if it can."""
    broken = []
    for kind, execution_id in zip(case.types, ids, strict=True):
        view = ended.get(execution_id)
        found = None if view is None or view.state not in FINE else await tree_of(ground, view)
        if found is None or found[1] == "invalid":
            broken.append(
                f"{kind}: {'no end' if view is None else f'{view.state.value} without a valid tree'}"
            )
        elif not case.refused and any(node.origin is not Origin.SIMULATED for _, node in walk(found[0])):
            broken.append(f"{kind}: not all of it is the model's")
    return broken


async def _settled(database: Database, provider: Running, case: Case) -> None:
    """Wait until the provider has ended what we gave up: a proxy may let go of it later than we do."""
    if case.key == KEY:
        async with database.begin() as tx:
            attempts = await tx.raw.fetchval("SELECT count(*) FROM job_attempts WHERE provider = 'simulated'")
        await anyio.to_thread.run_sync(provider.calls, attempts, 15)


async def _judged(
    database: Database,
    provider: Running,
    case: Case,
    ended: dict[ExecutionId, ExecutionView],
    broken: list[str],
) -> Row:
    async with database.begin() as tx:
        attempts = await tx.raw.fetch(
            """
            SELECT outcome, (usage->>'inputUnits')::int + (usage->>'outputUnits')::int AS tokens
            FROM job_attempts WHERE provider = 'simulated'
            """
        )
        circuit = await tx.raw.fetchval("SELECT circuit FROM providers WHERE provider = 'simulated'")
    calls, outcomes = provider.calls(), dict(Counter(str(row["outcome"]) for row in attempts))
    books, audited = await compare(database, calls), await audit(database)
    broken += [*books.differences, *map(str, audited.differences)]
    broken += broken_calls(case, outcomes, books, len(calls))
    if (circuit == "open") != (case.outcome == "refused_key"):
        broken.append(f"the circuit is {circuit}")
    return Row(
        name=case.name,
        states=dict(Counter(view.state.value for view in ended.values())),
        outcomes=outcomes,
        calls=len(calls),
        tokens=sum(row["tokens"] or 0 for row in attempts),
        usage_arrived=sum(1 for row in attempts if row["tokens"]),
        billed_nano=sum(call.cost_nano for call in calls),
        books=books,
        circuit=circuit,
        broken=tuple(broken),
    )


def broken_calls(case: Case, outcomes: dict[str, int], books: Comparison, calls: int) -> list[str]:
    """Return what is wrong with the calls: those without a fault are paid, the others end as they must."""
    if case.refused:
        expected = {case.outcome: sum(outcomes.values())}
    else:
        met = sum(map(bool, case.script))
        expected = {case.outcome: met} if met else {}
        expected["succeeded"] = sum(outcomes.values()) - met
    broken = [] if outcomes == expected else [f"calls ended {outcomes}, not {expected}"]
    if not case.script and not case.refused and books.paid_calls != calls:
        broken.append(f"{calls} calls without a fault, {books.paid_calls} paid")
    return broken


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    report = await run(databases, folder=asked.folder)
    head = ("case", "executions", "calls", "usage", "tokens", "billed", "paid", "lost", "circuit", "books")
    rows = [
        (
            row.name,
            counted(row.states),
            counted(row.outcomes),
            row.usage_arrived,
            row.tokens,
            f"{usd(row.billed_nano):.6f}",
            f"{usd(row.books.paid_nano):.6f}",
            row.books.unpaid_served_calls,
            row.circuit,
            "differ" if row.books.differences else "equal",
        )
        for row in report.rows
    ]
    return Proven(table=[head, *rows], broken=report.broken)


PROOF = Proof(
    name="litellm",
    shows=f"the LiteLLM proxy {VERSION} between AI Factory and the simulated provider",
    needs="4 minutes, 750 MB of disk; the first time it installs LiteLLM from the package index",
    options=(Option(name="folder", default=CACHE, help="where `litellm` is installed"),),
    alone=True,
    run=_prove,
)
