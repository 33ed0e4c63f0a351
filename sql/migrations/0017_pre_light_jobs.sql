-- Light jobs (pool `light`: well under a second, no file in, none out) are claimed and finished in
-- batches: one statement for many rows, under the same fence and with the same ends told.

-- A batch is claimed with one token, so that a lost answer to its COMMIT can be asked for again.
drop index jobs_by_claim;
create index jobs_by_claim on jobs (claim_token) where claim_token is not null;

-- The CloudEvent that tells a move of a job, as shared/messages describes it.
create function job_message(p_job jobs, p_event uuid, p_type text, p_detail jsonb) returns jsonb
language sql stable as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'specversion', '1.0',
        'id', p_event,
        'source', '/pointmill/' || current_user,
        'type', 'pointmill.job.' || p_type || '.v1',
        'subject', p_job.id,
        'time', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'datacontenttype', 'application/json',
        'traceparent', p_job.traceparent,
        'sequence', p_job.sequence::text,
        'workspaceid', p_job.workspace_id,
        'data', jsonb_build_object(
            'job_id', p_job.id,
            'workspace_id', p_job.workspace_id,
            'cloud_id', p_job.cloud_id,
            'kind', p_job.kind,
            'state', p_job.state,
            'attempt', p_job.attempt,
            'requested_by', p_job.requested_by) || p_detail))
$$;

create or replace function tell_job(p_job jobs, p_type text, p_detail jsonb default '{}') returns void
language plpgsql as $$
declare
    v_event uuid := uuid7();
    v_message jsonb := job_message(p_job, v_event, p_type, p_detail);
begin
    insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
    values (v_event, p_job.workspace_id, p_job.id, p_job.sequence, p_type, v_message);
    insert into outbox (exchange, routing_key, mandatory, message)
    values ('pointmill.events',
            p_job.workspace_id || '.job.' || replace(p_job.kind, '.', '_') || '.' || p_type,
            p_type in ('succeeded', 'failed', 'cancelled'), v_message);
end
$$;

-- Claim a batch for a slot of light jobs: the workspace is chosen as claim_job chooses it, then as
-- many of its jobs of the best one's kind as the limit and its cap have room for. That they have
-- started is recorded and not published: they have ended before anybody could act on it.
create function claim_light_jobs(
    p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid, p_limit integer)
returns setof jobs language plpgsql as $$
declare
    v_workspace uuid;
    v_room integer;
    v_kind text;
begin
    return query select * from jobs where claim_token = p_token and state = 'running';
    if found then
        return;
    end if;
    for v_workspace in
        select w.id
        from workspaces w
        cross join lateral (
            select j.available_at from jobs j
            where j.workspace_id = w.id and j.state = 'queued' and j.available_at <= now()
              and j.kind = any (p_kinds)
            order by j.priority desc, j.available_at, j.id limit 1) best
        cross join lateral (
            select count(*) as running from jobs r
            where r.workspace_id = w.id and r.state = 'running') load
        where w.max_running is null or load.running < w.max_running
        order by load.running::double precision / w.weight, best.available_at, w.id
    loop
        perform 1 from workspaces w where w.id = v_workspace for no key update;
        select least(p_limit, w.max_running - (
            select count(*) from jobs r where r.workspace_id = v_workspace and r.state = 'running'))
        into v_room from workspaces w where w.id = v_workspace;
        continue when v_room <= 0;
        select j.kind into v_kind from jobs j
        where j.workspace_id = v_workspace and j.state = 'queued' and j.available_at <= now()
          and j.kind = any (p_kinds)
          and not exists (select 1 from kinds k where k.kind = j.kind and k.paused_at is not null)
        order by j.priority desc, j.available_at, j.id limit 1
        for update of j skip locked;
        continue when not found;
        return query
            with best as (
                select j.id from jobs j
                where j.workspace_id = v_workspace and j.state = 'queued' and j.available_at <= now()
                  and j.kind = v_kind
                order by j.priority desc, j.available_at, j.id limit v_room
                for update of j skip locked),
            claimed as (
                update jobs j
                set state = 'running', attempt = attempt + 1, lease_owner = p_instance,
                    lease_until = now() + make_interval(secs => p_lease_seconds), claim_token = p_token,
                    started_at = now(), progress = null, sequence = sequence + 1
                from best where j.id = best.id
                returning j as job),
            noted as (
                insert into attempts (job_id, attempt, workspace_id, instance)
                select (c.job).id, (c.job).attempt, v_workspace, p_instance from claimed c),
            said as materialized (select uuid7() as event, c.job from claimed c),
            recorded as (
                insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
                select s.event, v_workspace, (s.job).id, (s.job).sequence, 'started',
                       job_message(s.job, s.event, 'started', '{}')
                from said s)
            select (s.job).* from said s;
        return;
    end loop;
end
$$;

-- The work of these light jobs is done: result, state, event, outbox for each that its attempt still
-- owns and nobody asked to cancel. Returns the ids of those; of the others nothing has changed.
-- Rows are locked in the order of their ids, as everything that locks several does.
create function finish_light_jobs(p_ends jsonb) returns setof uuid language sql as $$
    with ends as (
        select * from jsonb_to_recordset(p_ends) as e(job uuid, attempt integer, result jsonb, log_tail text)),
    locked as materialized (
        select j.id, e.result, e.log_tail from jobs j join ends e on e.job = j.id
        where j.attempt = e.attempt and j.state = 'running' and j.cancel_requested_at is null
        order by j.id for update of j),
    done as (
        update jobs j
        set state = 'succeeded', result = l.result, error = null, progress = null, lease_owner = null,
            lease_until = null, claim_token = null, ended_at = now(), sequence = sequence + 1
        from locked l where j.id = l.id
        returning j as job, l.log_tail),
    ended as (
        update attempts a set ended_at = now(), outcome = 'succeeded', log_tail = d.log_tail
        from done d where a.job_id = (d.job).id and a.attempt = (d.job).attempt),
    events as materialized (select (d.job).*, uuid7() as event, d.job as job from done d),
    said as materialized (
        select e.event, e.workspace_id, e.id, e.sequence, e.kind,
               job_message(e.job, e.event, 'succeeded', jsonb_build_object('result', e.result)) as message
        from events e),
    recorded as (
        insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
        select s.event, s.workspace_id, s.id, s.sequence, 'succeeded', s.message from said s),
    told as (
        insert into outbox (exchange, routing_key, mandatory, message)
        select 'pointmill.events',
               s.workspace_id || '.job.' || replace(s.kind, '.', '_') || '.succeeded', true, s.message
        from said s)
    select s.id from said s
$$;
