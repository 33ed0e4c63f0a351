-- Tenants, what they own, and who may speak for them.

-- Time-ordered identifiers (RFC 9562 section 5.7): rows made together lie together in the index.
create function uuid7() returns uuid language sql volatile parallel safe as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid
$$;

-- The workspace this transaction speaks for; null (and so no row) when nobody said.
create function current_workspace() returns uuid language sql stable parallel safe as $$
    select nullif(current_setting('app.workspace', true), '')::uuid
$$;

create function enter_workspace(p_workspace uuid) returns void language sql volatile as $$
    select set_config('app.workspace', p_workspace::text, true)
$$;

create table workspaces (
    id uuid primary key default uuid7(),
    name text not null unique check (length(name) between 1 and 200),
    weight integer not null default 1 check (weight between 1 and 1000),
    max_running integer check (max_running >= 0),  -- null: no cap of its own
    created_at timestamptz not null default now()
);

create table members (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    name text not null,
    email text not null check (email ~ '^[^[:space:]@]+@[^[:space:]@]+$' and length(email) <= 254),
    notify_by_mail boolean not null default true,
    created_at timestamptz not null default now(),
    unique (workspace_id, email)
);

create table api_keys (
    id text primary key check (id ~ '^[0-9a-f]{8}$'),
    workspace_id uuid not null references workspaces on delete cascade,
    name text not null,
    secret_sha256 bytea not null check (length(secret_sha256) = 32),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

create table projects (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    name text not null check (length(name) between 1 and 200),
    description text not null default '' check (length(description) <= 10000),
    config jsonb not null default '{}' check (jsonb_typeof(config) = 'object'),
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, name),
    unique (workspace_id, id)
);

-- empty -> stored, and never back: a cloud's source does not change once it is complete.
create type cloud_state as enum ('empty', 'stored');

create table clouds (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    project_id uuid,
    name text not null check (length(name) between 1 and 200),
    description text not null default '' check (length(description) <= 10000),
    properties jsonb not null default '{}' check (jsonb_typeof(properties) = 'object'),
    state cloud_state not null default 'empty',
    source_name text,
    source_object text unique,
    source_bytes bigint check (source_bytes > 0),
    source_crc32c text check (source_crc32c ~ '^[0-9a-f]{8}$'),
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, id),
    foreign key (workspace_id, project_id) references projects (workspace_id, id)
        on delete set null (project_id),
    constraint stored_has_a_source check (
        (state = 'stored') = (source_object is not null and source_name is not null
                              and source_bytes is not null and source_crc32c is not null))
);
create index clouds_in_order on clouds (workspace_id, created_at desc, id desc);
create index clouds_of_a_project on clouds (workspace_id, project_id) where project_id is not null;

alter table workspaces enable row level security;
alter table members enable row level security;
alter table api_keys enable row level security;
alter table projects enable row level security;
alter table clouds enable row level security;

create policy gateway_sees_one_workspace on workspaces for all to gateway using (id = current_workspace());
create policy gateway_sees_one_workspace on members for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on projects for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on clouds for all to gateway using (workspace_id = current_workspace());
create policy processor_sees_all on workspaces for all to processor using (true);
create policy processor_sees_all on clouds for select to processor using (true);
create policy notifier_sees_all on members for select to notifier using (true);
create policy notifier_sees_all on workspaces for select to notifier using (true);
create policy notifier_sees_all on clouds for select to notifier using (true);

-- Who an API key speaks for. Runs as the owner: before it is known which workspace asks, the
-- gateway's role sees none, and it never sees the table of keys. The secret is compared by the
-- caller in constant time.
create function find_api_key(p_id text)
returns table (workspace_id uuid, name text, secret_sha256 bytea)
language sql stable security definer set search_path = public, pg_temp as $$
    select workspace_id, name, secret_sha256
    from api_keys
    where id = p_id and revoked_at is null and (expires_at is null or expires_at > now())
$$;
