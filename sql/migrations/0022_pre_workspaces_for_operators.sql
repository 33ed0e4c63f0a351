-- What operators read and set of every workspace. The gateway's role sees one workspace at a time, so
-- these run with the owner's rights; the gateway calls them for operators' keys only.

create function list_workspaces(p_after timestamptz, p_after_id uuid, p_limit integer)
returns table (id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
    select w.id, w.name, w.weight, w.max_running,
           (select count(*) from jobs j where j.workspace_id = w.id and j.state = 'running'), w.created_at
    from workspaces w
    where p_after is null or (w.created_at, w.id) < (p_after, p_after_id)
    order by w.created_at desc, w.id desc
    limit p_limit
$$;

-- Set the weight (null: leave) and, where `p_cap` says so, the cap (null: none). No row: unknown.
create function change_workspace(p_id uuid, p_weight integer, p_cap boolean, p_max_running integer)
returns table (id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamptz)
language sql volatile security definer set search_path = public, pg_temp as $$
    update workspaces w
    set weight = coalesce(p_weight, w.weight),
        max_running = case when p_cap then p_max_running else w.max_running end
    where w.id = p_id
    returning w.id, w.name, w.weight, w.max_running,
              (select count(*) from jobs j where j.workspace_id = w.id and j.state = 'running'), w.created_at
$$;
