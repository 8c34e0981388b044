"""``python -m prove [stop fairness speed …]``: proofs at full size, and which promises were kept."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

import anyio
import structlog

from prove import (
    budgets,
    explain,
    fairness,
    faults,
    fleet,
    gates,
    ledger,
    litellm,
    plans,
    replay,
    speed,
    stop,
)
from prove.databases import open_databases
from prove.histories import exploring
from prove.reporting import Proof, as_table

#: The shortest first.
PROOFS: dict[str, Proof] = {
    one.PROOF.name: one.PROOF
    for one in (
        *(stop, fairness, speed, explain, faults, plans, replay),
        *(exploring, fleet, ledger, budgets, gates, litellm),
    )
}


async def _run(names: Sequence[str], asked: argparse.Namespace) -> int:
    broken = 0
    async with open_databases() as databases:
        for name in names:
            proof, started = PROOFS[name], time.monotonic()
            print(f"\n{name}: {proof.shows}. It needs {proof.needs}.", flush=True)
            proven = await proof.run(databases, asked)
            print(as_table(proven.table))
            print(f"{time.monotonic() - started:.0f} s.", *proven.broken, sep="\nBROKEN: ", flush=True)
            broken += len(proven.broken)
    print(f"\n{broken} promises broken." if broken else "\nEvery promise was kept.")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prove", description=__doc__)
    own = [proof.name for proof in PROOFS.values() if not proof.alone]
    alone = ", ".join(proof.name for proof in PROOFS.values() if proof.alone)
    parser.add_argument(
        "proofs", nargs="*", default=own, help=f"{', '.join(PROOFS)}; all but {alone} if none is named"
    )
    for option in dict.fromkeys(option for proof in PROOFS.values() for option in proof.options):
        parser.add_argument(
            f"--{option.name}", type=type(option.default), default=option.default, help=option.help
        )
    return parser


def main() -> int:
    """Run the proofs that are named, or all that need not be; 1 when a promise was broken."""
    parser = _parser()
    asked = parser.parse_args()
    if unknown := [name for name in asked.proofs if name not in PROOFS]:
        parser.error(f"no such proof: {', '.join(unknown)}; there are {', '.join(PROOFS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for name in asked.proofs:
        print(f"{name}: {PROOFS[name].needs}", flush=True)
    return anyio.run(_run, asked.proofs, asked)


# Local steps run in worker processes, which import this module again.
if __name__ == "__main__":
    sys.exit(main())
