-- A listener reads events in the order of their transactions, and only those before the oldest transaction
-- that still runs: one that commits late is not skipped. Events of before have no
-- number and are not among them.
alter table job_events add column xid xid8;
alter table job_events alter column xid set default pg_current_xact_id();

-- The events of a workspace after a place, oldest first; `settled`: nothing can come before it any more.
create function read_live_events(p_workspace uuid, p_xid xid8, p_id bigint, p_limit integer)
returns table (xid text, id bigint, job_id uuid, type text, message jsonb, settled boolean)
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query
        select e.xid::text, e.id, e.job_id, e.type, e.message,
               e.xid < pg_snapshot_xmin(pg_current_snapshot())
        from job_events e
        where e.workspace_id = p_workspace and (e.xid, e.id) > (p_xid, p_id)
        order by e.xid, e.id limit p_limit;
end
$$;
