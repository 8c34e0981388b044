"""Many executions against a provider that fails: what becomes of them, and whether the books agree."""

import argparse
from collections import Counter

import msgspec

from aifactory.granulation.parameters import counts_of, read_parameters
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree, walk
from aifactory.kernel.db import Database
from aifactory.kernel.money import usd
from aifactory.resources.audit import audit
from devprovider.running import Running
from prove.books import Comparison, compare
from prove.databases import Databases
from prove.ground import FINE, Ground, Work, open_ground, tree_of
from prove.reporting import Option, Proof, Proven, counted, proven

# 20 % of all calls: 8 % 429 and 5xx, 4 % hang, 3 % cut, 3 % wrong type, 2 % garbage or refusal.
FAULTS = {
    "rate_limited": 0.04,
    "server_error": 0.04,
    "hang": 0.04,
    "truncated": 0.015,
    "drop": 0.015,
    "wrong_type": 0.03,
    "garbage": 0.01,
    "refusal": 0.01,
    "retry_after": 0.5,
    "retry_after_seconds": 0.3,
    "hang_seconds": 30,
}
# And every twentieth place in what it writes breaks a rule, so that there is something to mend.
FLAWS = dict.fromkeys(
    (
        "items.two_keys",
        "items.no_rationale",
        "items.duplicate_option",
        "objectives.vague_verb",
        "titles.duplicate",
        "summaries.empty",
        "sources.fake",
    ),
    0.05,
)
LEAST_FINE = 0.995
MOST_PATCHES = 0.10
WITHIN_SECONDS = 3600.0
_SOURCES = ("drinking-water.md", "sourdough.md", None, "balance-sheet.md", "tides.txt")
_TYPES = ("course", "quiz", "flashcards", "document")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. Tokens are those that the provider billed for answers whose usage arrived."""

    executions: int
    by_state: dict[str, int]
    stuck: int
    invalid_trees: int
    depth_missed: int
    calls: int
    faulty_calls: int
    faults: dict[str, int]
    tokens: int
    patch_tokens: int
    discarded_tokens: int
    books: Comparison
    audit_differences: int

    @property
    def fine(self) -> float:
        """Return the share of executions that ended succeeded or partial with a valid tree."""
        good = sum(self.by_state.get(state.value, 0) for state in FINE)
        return (good - self.invalid_trees) / self.executions

    @property
    def patch_share(self) -> float:
        """Return the share of tokens that repair patches took."""
        return self.patch_tokens / max(1, self.tokens)


def work_of(position: int) -> Work:
    """Return the nth execution of a run: types, sources and sizes in turn."""
    kind = _TYPES[position % len(_TYPES)]
    source = _SOURCES[position % len(_SOURCES)]
    parameters: dict[str, object] = {"granularityLevel": 1 + position % 3, "topic": "Safe water at home"}
    if position % 7 == 0:
        parameters["validation"] = {"level": 2, "threshold": 0}
    else:
        parameters["validation"] = {"level": 1, "threshold": 0}
    return Work(structure_type=kind, parameters=parameters, source=source)


async def run(database: Database, executions: int, *, within_seconds: float, seed: int = 7) -> Report:
    """Run so many executions with 20 % faults and judge what came of them."""
    with Running() as provider:
        provider.configure(seed=seed, faults=FAULTS, quality=FLAWS, latency={"first_token_seconds": 0.05})
        async with open_ground(database, provider, first_token_seconds=2, idle_seconds=2) as ground:
            works = [work_of(position) for position in range(executions)]
            ids = [await ground.submit(work) for work in works]
            ended = await ground.ended(ids, within_seconds)
            invalid = missed = 0
            for work, execution_id in zip(works, ids, strict=True):
                view = ended.get(execution_id)
                if view is None or view.state not in FINE:
                    continue
                found = await tree_of(ground, view)
                invalid += found is None or found[1] == "invalid"
                missed += found is not None and not _is_deep_enough(work, found[0])
        # The factory has stopped: every call has been settled.
        return await _report(ground, provider, ended_states(ended), executions, invalid, missed)


def ended_states(ended: dict) -> dict[str, int]:  # type: ignore[type-arg]
    """Count executions by state."""
    return dict(Counter(view.state.value for view in ended.values()))


def _is_deep_enough(work: Work, tree: Tree) -> bool:
    spec = builtin_specs()[work.structure_type]
    wanted = counts_of(read_parameters(dict(work.parameters), spec), spec).depth
    return max(node.level for _, node in walk(tree)) >= wanted


async def _report(
    ground: Ground, provider: Running, states: dict[str, int], executions: int, invalid: int, missed: int
) -> Report:
    calls = provider.calls()
    async with ground.database.begin() as tx:
        rows = await tx.raw.fetch(
            """
            SELECT j.kind, a.outcome = 'succeeded' AS used,
                   sum((a.usage->>'inputUnits')::bigint + (a.usage->>'outputUnits')::bigint)::bigint AS tokens
            FROM job_attempts a JOIN jobs j ON j.id = a.job_id
            WHERE a.provider = 'simulated' AND a.usage IS NOT NULL GROUP BY 1, 2
            """
        )
    audited = await audit(ground.database)
    return Report(
        executions=executions,
        by_state=states,
        stuck=executions - sum(states.values()),
        invalid_trees=invalid,
        depth_missed=missed,
        calls=len(calls),
        faulty_calls=sum(1 for call in calls if call.fault),
        faults=dict(Counter(call.fault for call in calls if call.fault)),
        tokens=sum(row["tokens"] for row in rows),
        patch_tokens=sum(row["tokens"] for row in rows if row["kind"] == "patch"),
        discarded_tokens=sum(row["tokens"] for row in rows if not row["used"]),
        books=await compare(ground.database, calls),
        audit_differences=len(audited.differences),
    )


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, asked.executions, within_seconds=WITHIN_SECONDS)
    books = report.books
    promises = {
        f"{report.fine:.1%} ended well, at least {LEAST_FINE:.1%} must": report.fine >= LEAST_FINE,
        f"{report.stuck} executions are stuck": report.stuck == 0,
        f"{report.depth_missed} results are not as deep as asked": report.depth_missed == 0,
        f"patches took {report.patch_share:.1%} of the tokens": report.patch_share <= MOST_PATCHES,
        f"{report.audit_differences} differences in the audit": report.audit_differences == 0,
    }
    rows = {
        "executions": report.executions,
        "ended": counted(report.by_state),
        "ended well": f"{report.fine:.1%}",
        "stuck": report.stuck,
        "depth missed": report.depth_missed,
        "calls": report.calls,
        "calls with a fault": f"{report.faulty_calls} ({report.faulty_calls / max(1, report.calls):.1%})",
        "tokens": report.tokens,
        "of repair patches": f"{report.patch_tokens} ({report.patch_share:.1%})",
        "of discarded answers": report.discarded_tokens,
        "calls paid": f"{books.paid_calls}, {usd(books.paid_nano)} USD",
        "served and lost": books.unpaid_served_calls,
        "refused": books.refused_calls,
        "differences to the provider's book": len(books.differences),
        "differences in the audit": report.audit_differences,
    }
    return proven(rows, promises=promises, broken=books.differences)


PROOF = Proof(
    name="faults",
    shows="executions against a provider of whose calls every fifth fails",
    needs="3 to 10 minutes, 200 MB of disk",
    options=(Option(name="executions", default=200, help="how many `faults` runs"),),
    run=_prove,
)
