-- What a rival keeps: the keys and the jobs, in a database of their own on the same server.
create table api_keys (
    id text primary key,
    workspace_id uuid not null,
    secret_sha256 bytea not null,
    revoked_at timestamptz
);
create table jobs (
    id uuid primary key,
    workspace_id uuid not null,
    kind text not null,
    params jsonb not null,
    priority smallint not null,
    state text not null default 'queued',
    result jsonb,
    created_at timestamptz not null default now(),
    ended_at timestamptz
);
create index jobs_in_order on jobs (workspace_id, created_at desc, id desc);
