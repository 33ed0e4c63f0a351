-- Jobs, their attempts, events and products; the outbox; what the running services say of themselves.

-- The moves (the trigger below holds them; shared/jobs.py says the same in Python):
create type job_state as enum (
    'waiting',    -- -> queued | failed | cancelled
    'queued',     -- -> running | failed | cancelled
    'running',    -- -> succeeded | failed | cancelled | queued (retry, lost lease, drained worker)
    'succeeded',  -- an end
    'failed',     -- an end
    'cancelled'   -- an end
);

create table kinds (
    kind text primary key check (kind ~ '^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$'),
    title text not null,
    description text not null,
    params_schema jsonb not null,
    result_schema jsonb not null,
    pool text not null check (pool ~ '^[a-z][a-z0-9]*$'),
    needs_source boolean not null,
    attempts integer not null check (attempts >= 1),
    backoff_seconds double precision not null check (backoff_seconds >= 0),
    run_seconds double precision not null check (run_seconds > 0),
    start_seconds double precision not null check (start_seconds > 0),
    version integer not null check (version >= 1),
    paused_at timestamptz,
    updated_at timestamptz not null default now()
);

create table jobs (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    cloud_id uuid,
    kind text not null,
    pool text not null,
    params jsonb not null default '{}' check (jsonb_typeof(params) = 'object'),
    priority smallint not null default 0 check (priority between -100 and 100),
    state job_state not null default 'queued',
    available_at timestamptz not null default now(),
    start_by timestamptz not null,
    attempt integer not null default 0 check (attempt >= 0),  -- the fence: it only ever grows
    failures integer not null default 0 check (failures >= 0),
    max_failures integer not null check (max_failures >= 1),
    backoff_seconds double precision not null,
    lease_owner text,
    lease_until timestamptz,
    claim_token uuid,
    cancel_requested_at timestamptz,
    progress jsonb,
    result jsonb,
    error jsonb,
    retry_of uuid,
    requested_by text not null,
    traceparent text,
    sequence integer not null default 1,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    unique (workspace_id, id),
    foreign key (workspace_id, cloud_id) references clouds (workspace_id, id) on delete set null (cloud_id),
    foreign key (workspace_id, retry_of) references jobs (workspace_id, id) on delete set null (retry_of),
    constraint running_has_a_lease check (
        (state = 'running') = (lease_owner is not null and lease_until is not null and claim_token is not null)),
    constraint an_end_has_a_time check ((state in ('succeeded', 'failed', 'cancelled')) = (ended_at is not null)),
    constraint failed_has_an_error check (state <> 'failed' or error is not null),
    constraint succeeded_has_a_result check ((state = 'succeeded') = (result is not null))
);
create index jobs_to_claim on jobs (workspace_id, priority desc, available_at, id) where state = 'queued';
create index jobs_to_start on jobs (start_by) where state = 'queued';
create index jobs_running on jobs (workspace_id, lease_until) where state = 'running';
create unique index jobs_by_claim on jobs (claim_token) where claim_token is not null;
create index jobs_in_order on jobs (workspace_id, created_at desc, id desc);
create index jobs_of_a_cloud on jobs (workspace_id, cloud_id, created_at desc) where cloud_id is not null;

create function guard_job_moves() returns trigger language plpgsql as $$
begin
    if new.attempt < old.attempt or new.sequence < old.sequence or new.failures < old.failures then
        raise exception 'job %: attempt, failures and sequence only grow', old.id using errcode = 'check_violation';
    end if;
    if new.state is distinct from old.state and not (
        (old.state = 'waiting' and new.state in ('queued', 'failed', 'cancelled'))
        or (old.state = 'queued' and new.state in ('running', 'failed', 'cancelled'))
        or (old.state = 'running' and new.state in ('succeeded', 'failed', 'cancelled', 'queued')))
    then
        raise exception 'job %: % -> % is not a move', old.id, old.state, new.state using errcode = 'check_violation';
    end if;
    if old.state in ('succeeded', 'failed', 'cancelled') and new.attempt <> old.attempt then
        raise exception 'job % has ended', old.id using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger jobs_move_legally before update on jobs for each row execute function guard_job_moves();

create table attempts (
    job_id uuid not null references jobs on delete cascade,
    attempt integer not null,
    workspace_id uuid not null,
    instance text not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    outcome text check (outcome in ('succeeded', 'failed', 'retried', 'cancelled', 'lost', 'released')),
    error jsonb,
    log_tail text,
    primary key (job_id, attempt)
);

create table job_events (
    id bigint generated always as identity primary key,
    event_id uuid not null unique,
    workspace_id uuid not null,
    job_id uuid not null references jobs on delete cascade,
    sequence integer not null,
    type text not null check (type in (
        'queued', 'started', 'retry_scheduled', 'cancel_requested', 'succeeded', 'failed', 'cancelled')),
    message jsonb not null,  -- the CloudEvent as it is published
    created_at timestamptz not null default now(),
    unique (job_id, sequence)
);
create index job_ends_in_order on job_events (created_at) where type in ('succeeded', 'failed', 'cancelled');

create table products (
    id uuid primary key default uuid7(),
    workspace_id uuid not null,
    job_id uuid not null,
    attempt integer not null,
    cloud_id uuid,
    name text not null check (name ~ '^[a-z][a-z0-9_-]{0,63}$'),
    object text not null unique,
    media_type text not null,
    bytes bigint not null check (bytes >= 0),
    crc32c text not null check (crc32c ~ '^[0-9a-f]{8}$'),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz not null default now(),
    unique (job_id, name),
    foreign key (workspace_id, job_id) references jobs (workspace_id, id) on delete cascade,
    foreign key (workspace_id, cloud_id) references clouds (workspace_id, id) on delete cascade
);
create index products_of_a_cloud on products (workspace_id, cloud_id, name, created_at desc);

-- What a service has decided to tell and the broker has not confirmed yet. The service that wrote
-- a row relays it; nobody relays another's.
create table outbox (
    id bigint generated always as identity primary key,
    service text not null default current_user,
    exchange text not null,
    routing_key text not null,
    mandatory boolean not null,
    message jsonb not null,
    available_at timestamptz not null default now(),
    tries integer not null default 0,
    last_error text,
    created_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index outbox_to_relay on outbox (service, available_at, id);

-- Messages a consumer has dealt with, so that a repeat has no second effect.
create table inbox (
    consumer text not null,
    source text not null,
    id text not null,
    received_at timestamptz not null default now(),
    primary key (consumer, source, id)
);

-- The same Idempotency-Key with the same order gives the same job.
create table idempotency_keys (
    workspace_id uuid not null references workspaces on delete cascade,
    principal text not null,
    route text not null,
    key text not null check (length(key) between 1 and 255),
    fingerprint bytea not null,
    job_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (workspace_id, principal, route, key)
);

-- Other internal services that may ask for work over the bus: the broker proves their user name.
create table senders (
    user_id text primary key,
    workspace_id uuid not null references workspaces on delete cascade,
    kinds text[],  -- null: every kind
    created_at timestamptz not null default now()
);

create table service_instances (
    instance text primary key,
    service text not null,
    version text not null,
    accepts text[] not null,
    kinds text[] not null default '{}',
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

alter table jobs enable row level security;
alter table attempts enable row level security;
alter table job_events enable row level security;
alter table products enable row level security;
alter table outbox enable row level security;
alter table idempotency_keys enable row level security;

create policy gateway_sees_one_workspace on jobs for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on attempts for select to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on job_events for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on products for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on idempotency_keys for all to gateway using (workspace_id = current_workspace());
create policy processor_sees_all on idempotency_keys for all to processor using (true);
create policy processor_sees_all on jobs for all to processor using (true);
create policy processor_sees_all on attempts for all to processor using (true);
create policy processor_sees_all on job_events for all to processor using (true);
create policy processor_sees_all on products for all to processor using (true);
create policy notifier_sees_all on job_events for select to notifier using (true);
create policy notifier_sees_all on products for select to notifier using (true);
create policy a_service_relays_its_own on outbox for all to gateway, processor, notifier using (service = current_user);
