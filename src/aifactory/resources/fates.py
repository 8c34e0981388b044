"""What becomes of every stored text when content is erased: each column's fate, in one place. Pure.

A test compares this with the database: a new column of text, JSON or bytes must be given a fate here, and
what is erased is looked for, word by word, in all of them.
"""

from collections.abc import Mapping
from enum import StrEnum

from aifactory.resources.history import PARTED, Part


class Fate(StrEnum):
    """What an erasure does to a column."""

    ERASED = "erased"  #: emptied
    DELETED = "deleted"  #: its row goes
    STRIPPED = "stripped"  #: loses its words, and keeps codes, names of templates, figures
    EXPIRES = "expires"  #: an erasure leaves it; it goes by itself within days
    KEPT = "kept"  #: ids, names of states, kinds, models, templates; money, usage, counts: no content
    IDENTITY = "identity"  #: who the client, its users, keys and endpoints are: goes with the account
    OPERATOR = "operator"  #: the operator's own


def _all(fate: Fate, columns: str) -> dict[str, Fate]:
    return dict.fromkeys(columns.split(), fate)


def _kept(columns: str) -> dict[str, Fate]:
    return _all(Fate.KEPT, columns)


FATES: Mapping[str, Mapping[str, Fate]] = {
    "client_requests": _kept("template urgency accuracy erasure")
    | _all(Fate.ERASED, "parameters metadata flow"),
    "executions": _kept("template state urgency queue accuracy budget_ids erasure")
    | _all(Fate.ERASED, "input metadata result")
    | _all(Fate.STRIPPED, "reasons"),
    "stage_executions": _kept("worker action state phase")
    | _all(Fate.ERASED, "inputs outputs")
    | _all(Fate.STRIPPED, "spec resolved reasons"),
    "execution_lines": _kept("kind phase needs"),
    "jobs": _kept("worker kind line state needs")
    | _all(Fate.ERASED, "payload data result")
    | _all(Fate.STRIPPED, "error"),
    "job_attempts": _kept("provider model pool outcome usage price"),
    "execution_events": _all(Fate.DELETED, "type data"),  # but for the last, which says how it ended
    "data_references": _kept("media_type encoding kind erasure") | _all(Fate.ERASED, "name sha256 content"),
    "granulation_trees": _kept("structure_type template state origin models erasure")
    | _all(Fate.ERASED, "title head repairs judgement")
    | _all(Fate.STRIPPED, "assessment"),
    "structure_elements": _all(Fate.DELETED, "path node_id parent_id kind title body"),
    "validation_results": _all(Fate.DELETED, "severity rule path node_id message"),
    "response_cache": _all(Fate.DELETED, "key response usage"),
    "webhook_deliveries": _kept("event_type state") | _all(Fate.ERASED, "body"),
    "webhook_attempts": _kept("error") | _all(Fate.ERASED, "excerpt"),
    "idempotency_keys": _kept("scope route key body_sha256 location") | _all(Fate.ERASED, "body"),
    "handshakes": _all(Fate.EXPIRES, "scope name body_sha256 answer"),
    # Money and its limits.
    "budgets": _kept("scope scope_key"),
    "budget_limits": _kept("scope scope_key"),
    "budget_heirs": _kept("scope_key counts_on"),
    "cost_tracking": _kept("kind from_account to_account budget_ids provider model pool usage price"),
    "daily_usage": _kept("template provider model"),
    "quotas": _kept("pool period"),
    "client_pool_usage": _kept("pool"),
    "optimization_history": _kept("strategy detail"),
    # The queue.
    "lanes": _kept("worker queue urgency"),
    "queue_due": _kept("worker queue urgency needs"),
    "resource_queue": _kept("needs"),
    "running_jobs": _kept("worker pool provider model needs"),
    "routes": _kept("key hops further_pools"),
    "reservations": _kept("worker_key pool"),
    "provider_batches": _kept("provider provider_batch_id state"),
    # Who the client is.
    "clients": _all(Fate.IDENTITY, "name contact"),
    "client_resource_limits": _all(Fate.IDENTITY, "name tier time_zone"),
    "users": _all(Fate.IDENTITY, "login password_hash role"),
    "user_sessions": _all(Fate.IDENTITY, "token_sha256"),
    "login_attempts": _all(Fate.IDENTITY, "key"),
    "api_keys": _all(Fate.IDENTITY, "name public_id secret_sha256 scopes"),
    "webhooks": _all(Fate.IDENTITY, "url secret events description previous_secret disabled_reason"),
    # The operator's own.
    "alembic_version": _all(Fate.OPERATOR, "version_num"),
    "alert_rules": _all(Fate.OPERATOR, "rule severity"),
    "audit_log": _all(Fate.OPERATOR, "actor action object_kind object_id before after client_id request_id"),
    "granulator_templates": _all(
        Fate.OPERATOR,
        "name structure_type minimum_tier tier_reason default_parameters validation models title description "
        "parameter_schema",
    ),
    "master_templates": _all(Fate.OPERATOR, "name title description flow"),
    "models": _all(Fate.OPERATOR, "provider model pool price_source source"),
    "performance_metrics": _all(Fate.OPERATOR, "metric"),
    "processes": _all(Fate.OPERATOR, "host version loops"),
    "providers": _all(
        Fate.OPERATOR,
        "provider base_url api_key_variable source circuit title profile structured last_error",
    ),
    "queues": _all(Fate.OPERATOR, "queue policy"),
    "resource_alerts": _all(Fate.OPERATOR, "rule cause severity detail"),
    "resource_pools": _all(Fate.OPERATOR, "pool unit recent_starts"),
    "scheduler_control": _all(Fate.OPERATOR, "changed_by"),
    "structure_types": _all(Fate.OPERATOR, "structure_type spec"),
    "tiers": _all(Fate.OPERATOR, "tier"),
    "worker_credentials": _all(Fate.OPERATOR, "worker secret_sha256 scopes public_id"),
    "worker_registry": _all(Fate.OPERATOR, "worker display_name version base_url circuit templates"),
}


def whole_table(table: str) -> str:
    """Return the table that a part belongs to, or the table itself."""
    for whole in PARTED:
        if table == f"{whole}_default" or Part.named(whole, table) is not None:
            return whole
    return table
