"""The SQL of worker templates; no decisions."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.page import PageRequest
from aifactory.resources.interface import Tier


class WorkerTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a worker template. Token sizes are the outline's; an empty ``models`` means any model."""

    id: UUID
    name: str
    version: int
    title: str
    description: str
    structure_type: str
    minimum_tier: Tier
    tier_reason: str
    tokens_min: int
    tokens_avg: int
    tokens_max: int
    max_input_tokens: int
    expected_seconds: int
    memory_mb: int
    default_parameters: dict[str, Any]
    parameter_schema: dict[str, Any]
    validation: dict[str, Any]
    models: tuple[str, ...]
    offline_fallback: bool
    active: bool
    uses: int
    created_at: datetime


_COLUMNS = """
    id, name, version, title, description, structure_type, minimum_tier, tier_reason, tokens_min, tokens_avg,
    tokens_max, max_input_tokens, expected_seconds, memory_mb, default_parameters, parameter_schema,
    validation, models, offline_fallback, active, uses, created_at"""
_NEWEST_ACTIVE = f"""
    SELECT DISTINCT ON (name) {_COLUMNS} FROM granulator_templates WHERE active ORDER BY name, version DESC"""


def _template_of(row: Any) -> WorkerTemplate:
    return msgspec.convert(dict(row), WorkerTemplate)


async def find_template(tx: Tx, name: str) -> WorkerTemplate | None:
    """Return the newest active version of a worker template."""
    row = await tx.raw.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM granulator_templates
        WHERE name = $1 AND active ORDER BY version DESC LIMIT 1
        """,
        name,
    )
    return None if row is None else _template_of(row)


async def lock_template(tx: Tx, name: str) -> None:
    """Let one change of a worker template at a time happen, also before there is one."""
    await tx.raw.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('aifactory.granulator_templates.' || $1, 0))", name
    )


async def find_newest_template(tx: Tx, name: str) -> WorkerTemplate | None:
    """Return the newest version of a worker template, active or not."""
    row = await tx.raw.fetchrow(
        f"SELECT {_COLUMNS} FROM granulator_templates WHERE name = $1 ORDER BY version DESC LIMIT 1", name
    )
    return None if row is None else _template_of(row)


async def find_similar_template(tx: Tx, name: str, tier: Tier) -> WorkerTemplate | None:
    """Return an active template of this structure type, else one whose name contains it.

    Those that the tier allows come first, the most used of them at the head; then the lowest tier's.
    """
    row = await tx.raw.fetchrow(
        f"""
        WITH newest AS ({_NEWEST_ACTIVE})
        SELECT {_COLUMNS} FROM newest
        WHERE structure_type = lower($1) OR strpos(name, lower($1)) > 0
        ORDER BY structure_type = lower($1) DESC,
                 greatest(array_position($2::text[], minimum_tier), array_position($2, $3)),
                 (SELECT sum(every.uses) FROM granulator_templates every WHERE every.name = newest.name) DESC,
                 name
        LIMIT 1
        """,
        name,
        [one.value for one in Tier],
        tier.value,
    )
    return None if row is None else _template_of(row)


async def template_names(tx: Tx) -> list[str]:
    """Return the names of all active worker templates."""
    rows = await tx.raw.fetch("SELECT DISTINCT name FROM granulator_templates WHERE active ORDER BY name")
    return [row["name"] for row in rows]


async def list_templates(
    tx: Tx, *, structure_type: str | None, tier: Tier | None, page: PageRequest
) -> list[WorkerTemplate]:
    """Return one more than a page of the newest active versions, of a type and for a minimum tier."""
    rows = await tx.raw.fetch(
        f"""
        WITH newest AS ({_NEWEST_ACTIVE})
        SELECT {_COLUMNS} FROM newest
        WHERE ($1::text IS NULL OR structure_type = $1) AND ($2::text IS NULL OR minimum_tier = $2)
          AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        structure_type,
        None if tier is None else tier.value,
        page.before,
        page.limit + 1,
    )
    return [_template_of(row) for row in rows]


async def list_template_versions(tx: Tx, name: str, page: PageRequest) -> list[WorkerTemplate]:
    """Return one more than a page of a template's versions, newest first."""
    rows = await tx.raw.fetch(
        f"""
        SELECT {_COLUMNS} FROM granulator_templates
        WHERE name = $1 AND ($2::uuid IS NULL OR version < (
            SELECT version FROM granulator_templates WHERE id = $2))
        ORDER BY version DESC LIMIT $3
        """,
        name,
        page.before,
        page.limit + 1,
    )
    return [_template_of(row) for row in rows]


async def insert_template(tx: Tx, template: WorkerTemplate) -> None:
    """Store a version of a worker template."""
    values = msgspec.structs.asdict(template)
    values |= {
        name: encode_json(values[name])
        for name in ("default_parameters", "parameter_schema", "validation", "models")
    }
    values["minimum_tier"] = template.minimum_tier.value
    columns = [name.strip() for name in _COLUMNS.split(",")]
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    await tx.raw.execute(
        f"INSERT INTO granulator_templates ({_COLUMNS}) VALUES ({places})",
        *[values[name] for name in columns],
    )


async def deactivate_template(tx: Tx, name: str) -> None:
    """Take every version of a worker template out of use; what runs keeps its own."""
    await tx.raw.execute("UPDATE granulator_templates SET active = false WHERE name = $1 AND active", name)


async def count_use(tx: Tx, name: str, version: int) -> None:
    """Count a finished tree of a template. Only ranks templates, so it is left out rather than waited for."""
    await tx.raw.execute(
        """
        UPDATE granulator_templates SET uses = uses + 1 WHERE id = (
            SELECT id FROM granulator_templates WHERE name = $1 AND version = $2 FOR UPDATE SKIP LOCKED)
        """,
        name,
        version,
    )
