-- Cancel and retry many jobs at once: all that a filter means, a batch a transaction.

-- The jobs of a workspace that a filter means; what the filter does not name does not count.
create function filter_jobs(p_workspace uuid, p_filter jsonb) returns setof jobs language sql stable as $$
    select j.*
    from jobs j
    cross join jsonb_to_record(p_filter) as f(
        state job_state, kind text, cloud uuid, project uuid, created_after timestamptz,
        created_before timestamptz, error_code text)
    where j.workspace_id = p_workspace
      and (f.state is null or j.state = f.state)
      and (f.kind is null or j.kind = f.kind)
      and (f.cloud is null or j.cloud_id = f.cloud)
      and (f.project is null or exists (
            select from clouds c where c.id = j.cloud_id and c.project_id = f.project))
      and (f.created_after is null or j.created_at >= f.created_after)
      and (f.created_before is null or j.created_at < f.created_before)
      and (f.error_code is null or j.error ->> 'code' = f.error_code)
$$;

-- Cancel at most `p_limit` of the jobs that a filter means, the oldest first. `matched` could have
-- been cancelled, `done` were (or their workers were asked to: `asked`). Repeat while any are left.
create function cancel_jobs(p_workspace uuid, p_filter jsonb, p_limit integer)
returns table (matched bigint, done bigint, asked uuid[], as_of timestamptz) language plpgsql as $$
declare
    v_id uuid;
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select count(*) into matched from filter_jobs(p_workspace, p_filter) j
    where j.state in ('waiting', 'queued', 'running') and j.cancel_requested_at is null;
    done := 0;
    asked := '{}';
    as_of := now();
    for v_id in
        select j.id from filter_jobs(p_workspace, p_filter) j
        where j.state in ('waiting', 'queued', 'running') and j.cancel_requested_at is null
        order by j.created_at, j.id limit p_limit
    loop
        select * into v_job from cancel_job(p_workspace, v_id);
        -- It may have ended by itself meanwhile.
        continue when v_job.cancel_requested_at is null;
        done := done + 1;
        if v_job.state = 'running' then
            asked := asked || v_id;
        end if;
    end loop;
    return next;
end
$$;

-- Do at most `p_limit` of the jobs that a filter means again, the oldest first: those that failed or
-- were cancelled and were not retried yet, so that repeating it does none twice. A new job may fail
-- too and be meant by the same filter: name `as_of` of the first answer as `created_before`.
create function retry_jobs(
    p_workspace uuid, p_filter jsonb, p_limit integer, p_requested_by text, p_traceparent text)
returns table (matched bigint, done bigint, as_of timestamptz) language plpgsql as $$
declare
    v_id uuid;
begin
    perform enter_workspace(p_workspace);
    select count(*) into matched from filter_jobs(p_workspace, p_filter) j
    where j.state in ('failed', 'cancelled')
      and not exists (select from jobs r where r.workspace_id = p_workspace and r.retry_of = j.id);
    done := 0;
    as_of := now();
    for v_id in
        select j.id from filter_jobs(p_workspace, p_filter) j
        where j.state in ('failed', 'cancelled')
          and not exists (select from jobs r where r.workspace_id = p_workspace and r.retry_of = j.id)
        order by j.created_at, j.id limit p_limit
    loop
        -- Who else is retrying it holds it, and a look after that sees theirs.
        perform from jobs j where j.id = v_id and j.workspace_id = p_workspace for no key update;
        continue when exists (select from jobs r where r.workspace_id = p_workspace and r.retry_of = v_id);
        perform retry_job(p_workspace, v_id, p_requested_by, p_traceparent);
        done := done + 1;
    end loop;
    return next;
end
$$;
