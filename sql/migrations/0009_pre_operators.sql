-- An operator's key may also do what concerns every workspace: mend dead letters, pause kinds, weigh
-- workspaces. Such a key still belongs to one workspace and sees no other's clouds and jobs.

alter table api_keys add column operator boolean not null default false;

-- Another column in the answer cannot be had by `create or replace`. The old code names its columns.
drop function find_api_key(text);
create function find_api_key(p_id text)
returns table (workspace_id uuid, name text, secret_sha256 bytea, operator boolean)
language sql stable security definer set search_path = public, pg_temp as $$
    select workspace_id, name, secret_sha256, operator
    from api_keys
    where id = p_id and revoked_at is null and (expires_at is null or expires_at > now())
$$;
