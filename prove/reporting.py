"""What a proof is: what it shows and needs, what the command line may ask of it, and how it reports."""

import argparse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from prove.databases import Databases


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An option of the command line, ``--name``; what is given has the type of ``default``."""

    name: str
    default: object
    help: str


# Two proofs share it.
SEED = Option(name="seed", default=1, help="where `ledger` plants, and the first of `histories`")


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """A proof's report as a table, its first row the head, and the promises that were broken."""

    table: Sequence[Sequence[object]]
    broken: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What is proved, what it needs, and how it runs; ``alone``: only when it is named."""

    name: str
    shows: str
    needs: str
    options: tuple[Option, ...] = ()
    alone: bool = False
    run: Callable[[Databases, argparse.Namespace], Awaitable[Proven]]


def proven(
    rows: Mapping[str, object],
    *,
    promises: Mapping[str, bool] = MappingProxyType({}),
    broken: Sequence[str] = (),
) -> Proven:
    """Return figures with their names; broken are the promises that were not kept, and what else is."""
    return Proven(table=[("", ""), *rows.items()], broken=(*not_kept(promises), *broken))


def not_kept(promises: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the words of the promises that were not kept."""
    return tuple(words for words, is_kept in promises.items() if not is_kept)


def counted(counts: Mapping[str, int]) -> str:
    """Return counts in words: ``3 succeeded, 1 partial``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


def as_table(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as a Markdown table with straight columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in texts
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
