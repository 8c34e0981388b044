"""Resources: control, hot queue tables, facts, ledger; the seeded tiers, queues and pools."""

from alembic import op

revision = "0002"
down_revision = "0001"

CONTROL = """
CREATE TABLE scheduler_control (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT scheduler_control_only_row CHECK (only_row),
    enabled boolean NOT NULL,
    start_seq bigint NOT NULL DEFAULT 0,
    last_tick_at timestamptz,
    resumed_at timestamptz,
    changed_at timestamptz,
    changed_by text
);

CREATE TABLE processes (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    epoch bigint GENERATED ALWAYS AS IDENTITY,
    lock_key bigint NOT NULL,
    started_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    slots integer NOT NULL,
    local_slots integer NOT NULL,
    stopping boolean NOT NULL DEFAULT false
);

CREATE TABLE tiers (
    tier text PRIMARY KEY CONSTRAINT tiers_tier CHECK (tier IN ('basic', 'standard', 'premium', 'enterprise')),
    points integer NOT NULL CONSTRAINT tiers_points CHECK (points BETWEEN 0 AND 40),
    weight integer NOT NULL CONSTRAINT tiers_weight CHECK (weight > 0),
    max_running integer NOT NULL CONSTRAINT tiers_max_running CHECK (max_running >= 0),
    monthly_budget_nano bigint CONSTRAINT tiers_budget CHECK (monthly_budget_nano >= 0),
    requests_per_minute integer NOT NULL,
    retention_days integer
);

CREATE TABLE client_resource_limits (
    client_id uuid PRIMARY KEY,
    name text NOT NULL,
    tier text NOT NULL REFERENCES tiers,
    suspended boolean NOT NULL DEFAULT false,
    time_zone text NOT NULL DEFAULT 'UTC',
    max_running integer CONSTRAINT client_limits_max_running CHECK (max_running >= 0),
    monthly_budget_nano bigint CONSTRAINT client_limits_budget CHECK (monthly_budget_nano >= 0),
    requests_per_minute integer,
    CONSTRAINT client_limits_enterprise_budget CHECK (tier <> 'enterprise' OR monthly_budget_nano IS NOT NULL)
);

CREATE TABLE queues (
    queue text PRIMARY KEY
        CONSTRAINT queues_queue CHECK (queue IN ('immediate', 'fast', 'normal', 'batch', 'deferred')),
    rank smallint NOT NULL UNIQUE,
    policy text NOT NULL CONSTRAINT queues_policy CHECK (policy IN ('score', 'fair')),
    share_percent smallint NOT NULL,
    full_age_seconds integer NOT NULL,
    paused boolean NOT NULL DEFAULT false
);

CREATE TABLE resource_pools (
    pool text PRIMARY KEY,
    unit text NOT NULL,
    capacity bigint NOT NULL CONSTRAINT pools_capacity CHECK (capacity > 0),
    refill_per_second bigint NOT NULL CONSTRAINT pools_refill CHECK (refill_per_second >= 0),
    price_nano_per_million bigint NOT NULL CONSTRAINT pools_price CHECK (price_nano_per_million >= 0),
    requests_per_minute integer CONSTRAINT pools_requests CHECK (requests_per_minute > 0),
    reserved_percent smallint NOT NULL DEFAULT 10
        CONSTRAINT pools_reserved CHECK (reserved_percent BETWEEN 0 AND 90),
    dedicated_client_id uuid,
    level_micro bigint NOT NULL,
    requests_micro bigint NOT NULL DEFAULT 0,
    as_of timestamptz NOT NULL,
    blocked_until timestamptz,
    paused boolean NOT NULL DEFAULT false,
    last_urgent_at timestamptz,
    last_start_seq bigint NOT NULL DEFAULT 0,
    start_seq bigint NOT NULL DEFAULT 0,
    recent_starts text NOT NULL DEFAULT '',
    big_job_id uuid,
    big_job_since timestamptz,
    CONSTRAINT pools_level CHECK (level_micro <= capacity * 1000000)
) WITH (fillfactor = 50);

CREATE TABLE routes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    hops jsonb NOT NULL,
    further_pools text[] NOT NULL DEFAULT '{}',
    alone boolean NOT NULL DEFAULT false,
    local boolean NOT NULL DEFAULT false
);

CREATE TABLE lanes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route_id bigint NOT NULL REFERENCES routes,
    worker text NOT NULL,
    queue text NOT NULL REFERENCES queues,
    client_id uuid NOT NULL,
    urgency text NOT NULL CONSTRAINT lanes_urgency CHECK (urgency IN ('low', 'normal', 'high', 'urgent')),
    UNIQUE (route_id, worker, queue, client_id, urgency)
);

CREATE TABLE client_pool_usage (
    client_id uuid NOT NULL,
    pool text NOT NULL,
    usage double precision NOT NULL DEFAULT 0,
    as_of timestamptz NOT NULL,
    active boolean NOT NULL DEFAULT false,
    last_start_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (client_id, pool)
) WITH (fillfactor = 50);

CREATE TABLE quotas (
    client_id uuid NOT NULL,
    pool text NOT NULL REFERENCES resource_pools,
    period text NOT NULL CONSTRAINT quotas_period CHECK (period IN ('day', 'month')),
    units_limit bigint NOT NULL,
    units_used bigint NOT NULL DEFAULT 0,
    period_start timestamptz NOT NULL,
    PRIMARY KEY (client_id, pool, period)
);

CREATE TABLE budgets (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL,
    scope text NOT NULL CONSTRAINT budgets_scope CHECK (scope IN ('client', 'key', 'template', 'day')),
    scope_key text NOT NULL DEFAULT '',
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    limit_nano bigint CONSTRAINT budgets_limit CHECK (limit_nano >= 0),
    held_nano bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_held CHECK (held_nano >= 0),
    spent_nano bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_spent CHECK (spent_nano >= 0),
    unfinished integer NOT NULL DEFAULT 0 CONSTRAINT budgets_unfinished CHECK (unfinished >= 0),
    UNIQUE (client_id, scope, scope_key, period_start)
) WITH (fillfactor = 50);

CREATE TABLE worker_registry (
    worker text PRIMARY KEY,
    display_name text NOT NULL,
    version text NOT NULL,
    base_url text,
    max_running integer,
    timeout_ms integer NOT NULL,
    active boolean NOT NULL DEFAULT true,
    circuit text NOT NULL DEFAULT 'closed'
        CONSTRAINT workers_circuit CHECK (circuit IN ('closed', 'open', 'half_open')),
    templates jsonb NOT NULL DEFAULT '[]'
);

CREATE TABLE providers (
    provider text PRIMARY KEY,
    base_url text,
    api_key_variable text,
    source text NOT NULL CONSTRAINT providers_source CHECK (source IN ('built_in', 'file', 'api')),
    active boolean NOT NULL DEFAULT true,
    circuit text NOT NULL DEFAULT 'closed'
        CONSTRAINT providers_circuit CHECK (circuit IN ('closed', 'open', 'half_open')),
    circuit_changed_at timestamptz
);

CREATE TABLE models (
    provider text NOT NULL REFERENCES providers,
    model text NOT NULL,
    pool text NOT NULL REFERENCES resource_pools,
    input_nano_per_million bigint NOT NULL CONSTRAINT models_input CHECK (input_nano_per_million >= 0),
    cached_nano_per_million bigint NOT NULL CONSTRAINT models_cached CHECK (cached_nano_per_million >= 0),
    output_nano_per_million bigint NOT NULL CONSTRAINT models_output CHECK (output_nano_per_million >= 0),
    price_source text NOT NULL,
    price_at timestamptz NOT NULL,
    max_output_tokens integer,
    active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (provider, model)
);

CREATE TABLE provider_batches (
    id uuid PRIMARY KEY,
    provider text NOT NULL REFERENCES providers,
    provider_batch_id text,
    state text NOT NULL CONSTRAINT provider_batches_state
        CHECK (state IN ('uploading', 'submitted', 'succeeded', 'failed', 'expired', 'cancelled')),
    created_at timestamptz NOT NULL,
    finished_at timestamptz
);

CREATE TABLE reservations (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    worker_key text NOT NULL,
    pool text NOT NULL REFERENCES resource_pools,
    units bigint NOT NULL,
    consumed_units bigint NOT NULL DEFAULT 0,
    hold_nano bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    UNIQUE (job_id, worker_key)
);

CREATE TABLE handshakes (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL,
    stage_id text NOT NULL,
    submission jsonb NOT NULL,
    execution_id uuid,
    expires_at timestamptz NOT NULL
);

CREATE TABLE alert_rules (
    rule text PRIMARY KEY,
    severity text NOT NULL CONSTRAINT alert_rules_severity CHECK (severity IN ('info', 'warning', 'critical')),
    threshold numeric,
    enabled boolean NOT NULL DEFAULT true
);
"""

FACTS = """
CREATE TABLE executions (
    id uuid PRIMARY KEY,
    request_id uuid NOT NULL,
    client_id uuid NOT NULL,
    key_id uuid,
    template text NOT NULL,
    template_version integer NOT NULL,
    state text NOT NULL CONSTRAINT executions_state
        CHECK (state IN ('queued', 'running', 'succeeded', 'partial', 'failed', 'cancelled', 'expired')),
    urgency text NOT NULL CONSTRAINT executions_urgency CHECK (urgency IN ('low', 'normal', 'high', 'urgent')),
    queue text NOT NULL REFERENCES queues,
    accuracy text NOT NULL CONSTRAINT executions_accuracy CHECK (accuracy IN ('normal', 'high')),
    input jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    budget_ids uuid[] NOT NULL,
    estimated_nano bigint NOT NULL,
    held_nano bigint NOT NULL,
    free_hold_nano bigint NOT NULL CONSTRAINT executions_free_hold CHECK (free_hold_nano >= 0),
    spent_nano bigint NOT NULL DEFAULT 0 CONSTRAINT executions_spent CHECK (spent_nano >= 0),
    event_seq bigint NOT NULL DEFAULT 0,
    reasons jsonb NOT NULL DEFAULT '[]',
    result jsonb,
    created_at timestamptz NOT NULL,
    aged_from timestamptz NOT NULL,
    deadline timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT executions_final CHECK (
        (state IN ('succeeded', 'partial', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)),
    CONSTRAINT executions_no_hold_when_final CHECK (finished_at IS NULL OR free_hold_nano = 0)
);

CREATE INDEX executions_request ON executions (request_id, id DESC);

CREATE INDEX executions_client ON executions (client_id, id DESC);

CREATE INDEX executions_deadline ON executions (deadline) WHERE finished_at IS NULL;

CREATE TABLE stage_executions (
    id uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES executions,
    ordinal smallint NOT NULL,
    worker text NOT NULL,
    action text NOT NULL,
    spec jsonb NOT NULL,
    resolved jsonb NOT NULL,
    state text NOT NULL CONSTRAINT stages_state
        CHECK (state IN ('waiting', 'running', 'succeeded', 'partial', 'failed', 'skipped', 'cancelled')),
    phase text NOT NULL DEFAULT '',
    open_jobs integer NOT NULL DEFAULT 0 CONSTRAINT stages_open_jobs CHECK (open_jobs >= 0),
    inputs jsonb NOT NULL DEFAULT '{}',
    outputs jsonb,
    reasons jsonb NOT NULL DEFAULT '[]',
    started_at timestamptz,
    finished_at timestamptz,
    UNIQUE (execution_id, ordinal),
    CONSTRAINT stages_final CHECK (
        (state IN ('succeeded', 'partial', 'failed', 'skipped', 'cancelled')) = (finished_at IS NOT NULL))
);

CREATE TABLE execution_lines (
    execution_id uuid NOT NULL REFERENCES executions,
    stage_ordinal smallint NOT NULL,
    kind text NOT NULL,
    phase text NOT NULL,
    remaining integer NOT NULL CONSTRAINT lines_remaining CHECK (remaining >= 0),
    count integer NOT NULL,
    route_id bigint NOT NULL REFERENCES routes,
    input_bound bigint NOT NULL,
    output_limit bigint NOT NULL,
    worst_nano bigint NOT NULL CONSTRAINT lines_worst CHECK (worst_nano >= 0),
    PRIMARY KEY (execution_id, stage_ordinal, kind)
);

CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    stage_id uuid NOT NULL REFERENCES stage_executions,
    execution_id uuid NOT NULL REFERENCES executions,
    client_id uuid NOT NULL,
    worker text NOT NULL,
    kind text NOT NULL,
    line text,
    state text NOT NULL CONSTRAINT jobs_state CHECK (state IN (
        'scheduled', 'ready', 'following', 'running', 'at_provider',
        'succeeded', 'failed', 'cancelled', 'expired', 'poisoned')),
    attempt smallint NOT NULL DEFAULT 1,
    max_attempts smallint NOT NULL,
    losses smallint NOT NULL DEFAULT 0,
    crashes smallint NOT NULL DEFAULT 0,
    timeout_seconds integer NOT NULL,
    route_id bigint NOT NULL REFERENCES routes,
    input_bound bigint NOT NULL,
    output_limit bigint NOT NULL,
    hold_nano bigint NOT NULL CONSTRAINT jobs_hold CHECK (hold_nano >= 0),
    cost_nano bigint NOT NULL DEFAULT 0 CONSTRAINT jobs_cost CHECK (cost_nano >= 0),
    payload jsonb NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    result jsonb,
    error jsonb,
    leader_id uuid,
    batch_id uuid REFERENCES provider_batches,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT jobs_final CHECK (
        (state IN ('succeeded', 'failed', 'cancelled', 'expired', 'poisoned')) = (finished_at IS NOT NULL)),
    CONSTRAINT jobs_no_hold_when_final CHECK (finished_at IS NULL OR hold_nano = 0)
);

CREATE INDEX jobs_stage ON jobs (stage_id);

CREATE INDEX jobs_open ON jobs (execution_id) WHERE finished_at IS NULL;

CREATE TABLE job_attempts (
    job_id uuid NOT NULL REFERENCES jobs,
    attempt smallint NOT NULL,
    token uuid NOT NULL,
    process_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    pool text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome text,
    usage jsonb,
    price jsonb,
    cost_nano bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, attempt, token)
);

CREATE TABLE cost_tracking (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    client_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    attempt integer NOT NULL,
    kind text NOT NULL CONSTRAINT ledger_kind CHECK (kind IN (
        'hold', 'top_up', 'spend', 'release', 'overrun', 'waste', 'unreconciled', 'reconciled')),
    from_account text NOT NULL,
    to_account text NOT NULL,
    amount_nano bigint NOT NULL CONSTRAINT ledger_amount CHECK (amount_nano > 0),
    budget_ids uuid[] NOT NULL,
    provider text,
    model text,
    pool text,
    usage jsonb,
    price jsonb,
    UNIQUE (subject_id, attempt, kind),
    CONSTRAINT ledger_accounts CHECK (
        from_account <> to_account
        AND from_account IN ('available', 'held', 'spent', 'operator', 'overrun', 'waste', 'unreconciled')
        AND to_account IN ('available', 'held', 'spent', 'operator', 'overrun', 'waste', 'unreconciled'))
);

CREATE INDEX cost_tracking_execution ON cost_tracking (execution_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$;

CREATE TRIGGER cost_tracking_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cost_tracking
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE execution_events (
    execution_id uuid NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    type text NOT NULL,
    data jsonb NOT NULL,
    PRIMARY KEY (execution_id, seq, at)
) PARTITION BY RANGE (at);

CREATE TABLE execution_events_default PARTITION OF execution_events DEFAULT;

CREATE TABLE performance_metrics (
    at timestamptz NOT NULL,
    process_id uuid NOT NULL,
    metric text NOT NULL,
    value double precision NOT NULL
) PARTITION BY RANGE (at);

CREATE TABLE performance_metrics_default PARTITION OF performance_metrics DEFAULT;

CREATE TABLE resource_alerts (
    id uuid PRIMARY KEY,
    rule text NOT NULL,
    cause text NOT NULL,
    severity text NOT NULL,
    detail jsonb NOT NULL,
    fired_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    silenced_until timestamptz,
    resolved_at timestamptz
);

CREATE UNIQUE INDEX resource_alerts_once ON resource_alerts (rule, cause) WHERE resolved_at IS NULL;

CREATE TABLE optimization_history (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    client_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    strategy text NOT NULL,
    saved_nano bigint NOT NULL,
    detail jsonb NOT NULL
);

CREATE TABLE daily_usage (
    day date NOT NULL,
    client_id uuid NOT NULL,
    template text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    calls bigint NOT NULL,
    input_units bigint NOT NULL,
    output_units bigint NOT NULL,
    cost_nano bigint NOT NULL,
    PRIMARY KEY (day, client_id, template, provider, model)
);

CREATE TABLE data_references (
    id uuid PRIMARY KEY,
    client_id uuid NOT NULL,
    execution_id uuid,
    name text NOT NULL,
    media_type text NOT NULL,
    encoding text NOT NULL CONSTRAINT data_encoding CHECK (encoding IN ('identity', 'zstd')),
    bytes bigint NOT NULL,
    words bigint NOT NULL,
    sha256 bytea NOT NULL,
    content bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);

CREATE INDEX data_references_expiry ON data_references (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE data_references ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE response_cache (
    key bytea NOT NULL,
    client_id uuid NOT NULL,
    shared boolean NOT NULL DEFAULT false,
    response jsonb NOT NULL,
    usage jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (key, client_id)
);
"""

HOT = """
CREATE SEQUENCE queue_seq CACHE 1;

CREATE TABLE resource_queue (
    job_id uuid PRIMARY KEY,
    lane_id bigint NOT NULL,
    aged_from timestamptz NOT NULL,
    seq bigint NOT NULL,
    units bigint NOT NULL,
    needs jsonb,
    attempt smallint NOT NULL,
    timeout_seconds integer NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX resource_queue_order ON resource_queue (lane_id, aged_from, seq);

CREATE TABLE queue_due (
    job_id uuid PRIMARY KEY,
    due_at timestamptz NOT NULL,
    route_id bigint NOT NULL REFERENCES routes,
    worker text NOT NULL,
    queue text NOT NULL,
    client_id uuid NOT NULL,
    urgency text NOT NULL,
    aged_from timestamptz NOT NULL,
    seq bigint NOT NULL,
    units bigint NOT NULL,
    needs jsonb,
    attempt smallint NOT NULL,
    timeout_seconds integer NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX queue_due_order ON queue_due (due_at);

CREATE TABLE running_jobs (
    job_id uuid PRIMARY KEY,
    token uuid NOT NULL,
    process_id uuid NOT NULL,
    client_id uuid NOT NULL,
    worker text NOT NULL,
    pool text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    local boolean NOT NULL,
    lane_id bigint NOT NULL,
    units bigint NOT NULL,
    attempt smallint NOT NULL,
    started_at timestamptz NOT NULL,
    deadline timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX running_jobs_process ON running_jobs (process_id);
"""

SEEDS = """
INSERT INTO scheduler_control (enabled) VALUES (true);

INSERT INTO tiers VALUES
    ('basic', 10, 10, 5, 100000000000, 60, 30),
    ('standard', 20, 20, 20, 500000000000, 120, 90),
    ('premium', 30, 30, 50, 1000000000000, 300, 365),
    ('enterprise', 40, 40, 100, NULL, 1200, NULL);

INSERT INTO queues VALUES
    ('immediate', 0, 'score', 0, 30),
    ('fast', 1, 'score', 25, 120),
    ('normal', 2, 'fair', 15, 6000),
    ('batch', 3, 'fair', 8, 7200),
    ('deferred', 4, 'fair', 2, 7200);

INSERT INTO resource_pools
    (pool, unit, capacity, refill_per_second, price_nano_per_million, level_micro, as_of)
SELECT pool, unit, capacity, refill, price, capacity::bigint * 1000000, clock_timestamp()
FROM (VALUES
    ('openai-gpt-4', 'tokens', 10000, 166, 30000000000),
    ('openai-gpt-3.5', 'tokens', 90000, 1500, 1500000000),
    ('default', 'tokens', 90000, 1500, 0::bigint),
    ('compute', 'words', 1000000, 50000, 10000000),
    ('email', 'messages', 1000, 16, 100000000000),
    ('sms', 'messages', 500, 8, 7500000000000),
    ('database', 'queries', 50000, 833, 0),
    ('kv-storage', 'reads', 100000, 1666, 500000000),
    ('object-storage', 'operations', 1000000, 10000, 0)
) AS seed (pool, unit, capacity, refill, price);

INSERT INTO providers (provider, source) VALUES ('local', 'built_in');

INSERT INTO models VALUES
    ('local', 'offline', 'compute', 10000000, 10000000, 10000000, 'pool compute', clock_timestamp());

INSERT INTO worker_registry (worker, display_name, version, timeout_ms)
VALUES ('granulation', 'Content Granulator', '1', 60000);
"""


def upgrade() -> None:
    for part in (CONTROL, FACTS, HOT, SEEDS):
        for statement in filter(str.strip, part.split(";\n\n")):
            op.execute(statement.rstrip().rstrip(";"))
