-- One workspace, for operators; `p_lock` for one that is about to be changed. The gateway calls it for
-- operators' keys only.
create function read_workspace(p_id uuid, p_lock boolean)
returns table (id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamptz)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
begin
    if p_lock then
        perform from workspaces w where w.id = p_id for no key update;
    end if;
    return query
        select w.id, w.name, w.weight, w.max_running,
               (select count(*) from jobs j where j.workspace_id = w.id and j.state = 'running'), w.created_at
        from workspaces w
        where w.id = p_id;
end
$$;
