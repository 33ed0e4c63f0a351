-- What a key may do, and how it is replaced. A key that was there before may do what it could: everything
-- in its workspace.

-- Each may do what those before it may.
create type member_role as enum ('viewer', 'editor', 'admin');

alter table api_keys
    add column role member_role not null default 'admin',
    -- Roughly: written once a minute at most, by `note_uses`.
    add column last_used_at timestamptz,
    -- The secret before the last rotation, which still opens until then.
    add column previous_sha256 bytea check (length(previous_sha256) = 32),
    add column previous_until timestamptz,
    add column created_by text not null default 'operators';
create index api_keys_of_a_workspace on api_keys (workspace_id, created_at desc);

create policy gateway_sees_one_workspace on api_keys for all to gateway using (workspace_id = current_workspace());

-- The old code names its columns and knows nothing of a former secret: it refuses it at once.
drop function find_api_key(text);
create function find_api_key(p_id text)
returns table (workspace_id uuid, name text, secret_sha256 bytea, operator boolean, role member_role,
               previous_sha256 bytea)
language sql stable security definer set search_path = public, pg_temp as $$
    select workspace_id, name, secret_sha256, operator, role,
           case when previous_until > now() then previous_sha256 end
    from api_keys
    where id = p_id and revoked_at is null and (expires_at is null or expires_at > now())
$$;

-- These keys, of whatever workspace, were used within the last minute.
create function note_key_uses(p_ids text[]) returns void
language sql volatile security definer set search_path = public, pg_temp as $$
    update api_keys set last_used_at = now() where id = any (p_ids)
$$;

-- Another secret for a key of this workspace that is in force; the one it had opens for a while more. Runs as
-- the owner, as the gateway's role reads no hash.
create function rotate_api_key(p_id text, p_sha256 bytea, p_grace_seconds integer) returns boolean
language sql volatile security definer set search_path = public, pg_temp as $$
    with rotated as (
        update api_keys
        set previous_sha256 = secret_sha256, previous_until = now() + make_interval(secs => p_grace_seconds),
            secret_sha256 = p_sha256
        where id = p_id and workspace_id = current_workspace() and revoked_at is null
          and (expires_at is null or expires_at > now())
        returning id)
    select exists (select from rotated)
$$;
