-- Every move of a job is one function: the row, its event and what must be told, in one transaction.
-- They run with the caller's rights (its grants and row-level security hold).

-- Record that the job has moved: one event in the log, one message for the bus. The caller's UPDATE
-- has already counted `sequence` up. The message is the CloudEvent that shared/messages describes.
create function tell_job(p_job jobs, p_type text, p_detail jsonb default '{}') returns void
language plpgsql as $$
declare
    v_event uuid := uuid7();
    v_message jsonb;
begin
    v_message := jsonb_strip_nulls(jsonb_build_object(
        'specversion', '1.0',
        'id', v_event,
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
            'requested_by', p_job.requested_by) || p_detail));
    insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
    values (v_event, p_job.workspace_id, p_job.id, p_job.sequence, p_type, v_message);
    insert into outbox (exchange, routing_key, mandatory, message)
    values ('pointmill.events',
            p_job.workspace_id || '.job.' || replace(p_job.kind, '.', '_') || '.' || p_type,
            p_type in ('succeeded', 'failed', 'cancelled'), v_message);
end
$$;

-- A doorbell for the pool, due when the job is.
create function ring_for(p_job jobs) returns void language sql as $$
    insert into outbox (exchange, routing_key, mandatory, available_at, message)
    values ('pointmill.work', 'work.' || p_job.pool, true, p_job.available_at,
            jsonb_strip_nulls(jsonb_build_object(
                'specversion', '1.0',
                'id', uuid7(),
                'source', '/pointmill/' || current_user,
                'type', 'pointmill.work.available.v1',
                'subject', p_job.id,
                'time', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'datacontenttype', 'application/json',
                'traceparent', p_job.traceparent,
                'data', jsonb_build_object('job_id', p_job.id, 'kind', p_job.kind, 'pool', p_job.pool))))
$$;

-- Accept a job. A kind nobody has registered yet gets the limits below, so that an upload is
-- accepted before the first processor has ever started. The same id again gives the job that is there.
create function create_job(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text default null, p_retry_of uuid default null, p_id uuid default null)
returns jobs language plpgsql as $$
declare
    v_kind kinds;
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select * into v_kind from kinds where kind = p_kind;
    insert into jobs (id, workspace_id, cloud_id, kind, pool, params, priority, start_by, max_failures,
                      backoff_seconds, requested_by, traceparent, retry_of)
    values (coalesce(p_id, uuid7()), p_workspace, p_cloud, p_kind, coalesce(v_kind.pool, 'default'), p_params,
            coalesce(p_priority, 0::smallint),
            now() + make_interval(secs => coalesce(v_kind.start_seconds, 86400)),
            coalesce(v_kind.attempts, 3), coalesce(v_kind.backoff_seconds, 2), p_requested_by, p_traceparent,
            p_retry_of)
    on conflict (id) do nothing
    returning * into v_job;
    if found then
        perform tell_job(v_job, 'queued');
        perform ring_for(v_job);
    else
        select * into v_job from jobs where id = p_id;
    end if;
    return v_job;
end
$$;

-- Accept a job under an Idempotency-Key: the same order gives the same job; another order under the
-- same key gives no job (a row of nulls), and the caller answers 422. A concurrent twin waits here.
create function create_job_once(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text, p_route text, p_key text, p_fingerprint bytea)
returns jobs language plpgsql as $$
declare
    v_id uuid := uuid7();
    v_known idempotency_keys;
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    insert into idempotency_keys (workspace_id, principal, route, key, fingerprint, job_id)
    values (p_workspace, p_requested_by, p_route, p_key, p_fingerprint, v_id)
    on conflict do nothing;
    if found then
        return create_job(p_workspace, p_kind, p_params, p_cloud, p_priority, p_requested_by,
                          p_traceparent, null, v_id);
    end if;
    select * into v_known from idempotency_keys
    where workspace_id = p_workspace and principal = p_requested_by and route = p_route and key = p_key;
    if v_known.fingerprint = p_fingerprint then
        select * into v_job from jobs where id = v_known.job_id;
    end if;
    return v_job;
end
$$;

-- The cloud's bytes are in the store: take them as its source and order the mill, in one step.
-- No row when the cloud is unknown or already has a source.
create function finish_upload(
    p_workspace uuid, p_cloud uuid, p_name text, p_object text, p_bytes bigint, p_crc32c text,
    p_params jsonb, p_requested_by text, p_traceparent text)
returns setof jobs language plpgsql as $$
declare
    v_cloud clouds;
begin
    perform enter_workspace(p_workspace);
    update clouds
    set state = 'stored', source_name = p_name, source_object = p_object, source_bytes = p_bytes,
        source_crc32c = p_crc32c, version = version + 1, updated_at = now()
    where id = p_cloud and workspace_id = p_workspace and state = 'empty'
    returning * into v_cloud;
    if not found then
        return;
    end if;
    insert into outbox (exchange, routing_key, mandatory, message)
    values ('pointmill.events', p_workspace || '.cloud.stored', false,
            jsonb_strip_nulls(jsonb_build_object(
                'specversion', '1.0',
                'id', uuid7(),
                'source', '/pointmill/' || current_user,
                'type', 'pointmill.cloud.stored.v1',
                'subject', v_cloud.id,
                'time', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'datacontenttype', 'application/json',
                'traceparent', p_traceparent,
                'workspaceid', p_workspace,
                'data', jsonb_build_object(
                    'cloud_id', v_cloud.id, 'workspace_id', p_workspace, 'name', v_cloud.name,
                    'source_name', p_name, 'bytes', p_bytes, 'crc32c', p_crc32c))));
    return query select * from create_job(
        p_workspace, 'pointcloud.ingest', p_params, p_cloud, 0::smallint, p_requested_by, p_traceparent);
end
$$;

-- Cancel: at once where nobody works on it, by request where somebody does (the worker or the
-- reaper ends it). Harmless when repeated or when the job has ended. No row when it is unknown.
create function cancel_job(p_workspace uuid, p_id uuid) returns setof jobs language plpgsql as $$
declare
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select * into v_job from jobs where id = p_id and workspace_id = p_workspace for update;
    if not found then
        return;
    end if;
    if v_job.state in ('waiting', 'queued') then
        update jobs set state = 'cancelled', cancel_requested_at = coalesce(cancel_requested_at, now()),
                        ended_at = now(), sequence = sequence + 1
        where id = p_id returning * into v_job;
        perform tell_job(v_job, 'cancelled');
    elsif v_job.state = 'running' and v_job.cancel_requested_at is null then
        update jobs set cancel_requested_at = now(), sequence = sequence + 1
        where id = p_id returning * into v_job;
        perform tell_job(v_job, 'cancel_requested');
    end if;
    return next v_job;
end
$$;

-- A retry asked for by a person is a new job that names the old one. No row when the job is unknown
-- or has not ended in `failed` or `cancelled`.
create function retry_job(p_workspace uuid, p_id uuid, p_requested_by text, p_traceparent text)
returns setof jobs language plpgsql as $$
declare
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select * into v_job from jobs
    where id = p_id and workspace_id = p_workspace and state in ('failed', 'cancelled');
    if found then
        return query select * from create_job(
            p_workspace, v_job.kind, v_job.params, v_job.cloud_id, v_job.priority, p_requested_by,
            p_traceparent, p_id);
    end if;
end
$$;

-- Forget a cloud: jobs that work on it are cancelled, its products go with it. The objects are left
-- to the collector, which deletes what no row names. True when there was one.
create function delete_cloud(p_workspace uuid, p_id uuid) returns boolean language plpgsql as $$
declare
    v_job uuid;
begin
    perform enter_workspace(p_workspace);
    perform 1 from clouds where id = p_id and workspace_id = p_workspace for update;
    if not found then
        return false;
    end if;
    for v_job in
        select id from jobs
        where workspace_id = p_workspace and cloud_id = p_id
          and state in ('waiting', 'queued', 'running') order by id
    loop
        perform cancel_job(p_workspace, v_job);
    end loop;
    delete from clouds where id = p_id and workspace_id = p_workspace;
    return true;
end
$$;

-- Claim the next job for a free slot: per workspace its best one (priority, then age), across
-- workspaces the one with the least running for its weight, then the longest waiting. The cap is
-- checked again under the workspace's lock, the state on the row being locked. A repeated token
-- gives back the job it has claimed already (the answer to a COMMIT can be lost). No row: nothing
-- is eligible for these kinds now.
create function claim_job(p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid)
returns setof jobs language plpgsql as $$
declare
    v_workspace uuid;
    v_job jobs;
begin
    select * into v_job from jobs where claim_token = p_token and state = 'running';
    if found then
        return next v_job;
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
        perform 1 from workspaces w
        where w.id = v_workspace for no key update;
        continue when exists (
            select 1 from workspaces w where w.id = v_workspace and w.max_running <= (
                select count(*) from jobs r where r.workspace_id = v_workspace and r.state = 'running'));
        select j.* into v_job from jobs j
        where j.workspace_id = v_workspace and j.state = 'queued' and j.available_at <= now()
          and j.kind = any (p_kinds)
          and not exists (select 1 from kinds k where k.kind = j.kind and k.paused_at is not null)
        order by j.priority desc, j.available_at, j.id limit 1
        for update of j skip locked;
        continue when not found;
        update jobs set state = 'running', attempt = attempt + 1, lease_owner = p_instance,
                        lease_until = now() + make_interval(secs => p_lease_seconds), claim_token = p_token,
                        started_at = now(), progress = null, sequence = sequence + 1
        where id = v_job.id returning * into v_job;
        insert into attempts (job_id, attempt, workspace_id, instance)
        values (v_job.id, v_job.attempt, v_job.workspace_id, p_instance);
        perform tell_job(v_job, 'started');
        return next v_job;
        return;
    end loop;
end
$$;

-- The work is done and its objects are stored: result, products, state, event, in one step, only
-- while the attempt still owns the job and nobody has asked to cancel. False: it does not.
create function finish_job(p_job uuid, p_attempt integer, p_result jsonb, p_products jsonb, p_log_tail text)
returns boolean language plpgsql as $$
declare
    v_job jobs;
begin
    update jobs set state = 'succeeded', result = p_result, error = null, progress = null,
                    lease_owner = null, lease_until = null, claim_token = null,
                    ended_at = now(), sequence = sequence + 1
    where id = p_job and attempt = p_attempt and state = 'running' and cancel_requested_at is null
    returning * into v_job;
    if not found then
        return false;
    end if;
    insert into products (workspace_id, job_id, attempt, cloud_id, name, object, media_type, bytes, crc32c, sha256)
    select v_job.workspace_id, p_job, p_attempt, v_job.cloud_id, p.name, p.object, p.media_type, p.bytes,
           p.crc32c, p.sha256
    from jsonb_to_recordset(p_products) as p(
        name text, object text, media_type text, bytes bigint, crc32c text, sha256 text);
    update attempts set ended_at = now(), outcome = 'succeeded', log_tail = p_log_tail
    where job_id = p_job and attempt = p_attempt;
    perform tell_job(v_job, 'succeeded', jsonb_build_object('result', p_result));
    return true;
end
$$;

-- End an attempt that did not succeed, under the lock its caller holds on the running row: cancelled
-- where that was asked for, queued again where it may be and budget is left, failed otherwise.
create function end_attempt(p_job jobs, p_outcome text, p_error jsonb, p_retryable boolean, p_log_tail text)
returns job_state language plpgsql as $$
declare
    v_job jobs;
    v_pause double precision;
begin
    if p_job.cancel_requested_at is not null then
        update jobs set state = 'cancelled', progress = null, lease_owner = null, lease_until = null,
                        claim_token = null, ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = 'cancelled', error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'cancelled');
    elsif p_retryable and p_job.failures + 1 < p_job.max_failures then
        -- Full jitter over the second half of the pause, so that a fleet does not come back in step.
        v_pause := least(p_job.backoff_seconds * power(2, p_job.failures), 3600) * (0.5 + random() / 2);
        update jobs set state = 'queued', failures = failures + 1, error = p_error, progress = null,
                        available_at = now() + make_interval(secs => v_pause),
                        start_by = greatest(start_by, now() + make_interval(secs => v_pause + 3600)),
                        lease_owner = null, lease_until = null, claim_token = null, sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = p_outcome, error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'retry_scheduled',
                         jsonb_build_object('error', p_error, 'available_at', v_job.available_at));
        perform ring_for(v_job);
    else
        update jobs set state = 'failed', failures = failures + 1, error = p_error, progress = null,
                        lease_owner = null, lease_until = null, claim_token = null,
                        ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = case when p_outcome = 'lost' then 'lost' else 'failed' end,
                            error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', p_error));
    end if;
    return v_job.state;
end
$$;

-- The attempt has failed (or was stopped because a cancel was asked for). Null: it no longer owns the job.
create function fail_job(p_job uuid, p_attempt integer, p_error jsonb, p_retryable boolean, p_log_tail text)
returns job_state language plpgsql as $$
declare
    v_job jobs;
begin
    select * into v_job from jobs
    where id = p_job and attempt = p_attempt and state = 'running' for update;
    if not found then
        return null;
    end if;
    return end_attempt(v_job, 'retried', p_error, p_retryable, p_log_tail);
end
$$;

-- A worker that is leaving gives its job back at once; no failure is counted.
create function release_job(p_job uuid, p_attempt integer) returns boolean language plpgsql as $$
declare
    v_job jobs;
begin
    select * into v_job from jobs
    where id = p_job and attempt = p_attempt and state = 'running' for update;
    if not found then
        return false;
    end if;
    if v_job.cancel_requested_at is not null then
        perform end_attempt(v_job, 'released', null, false, null);
        return true;
    end if;
    update jobs set state = 'queued', available_at = now(), progress = null,
                    start_by = greatest(start_by, now() + interval '1 hour'),
                    lease_owner = null, lease_until = null, claim_token = null, sequence = sequence + 1
    where id = p_job returning * into v_job;
    update attempts set ended_at = now(), outcome = 'released' where job_id = p_job and attempt = p_attempt;
    perform tell_job(v_job, 'retry_scheduled', jsonb_build_object('available_at', v_job.available_at));
    perform ring_for(v_job);
    return true;
end
$$;

-- Jobs whose worker has gone silent: their lease is over. Each is retried or ended. Several reapers
-- may run at once. Returns how many.
create function reap_lost_jobs(p_limit integer) returns integer language plpgsql as $$
declare
    v_job jobs;
    v_count integer := 0;
begin
    for v_job in
        select * from jobs where state = 'running' and lease_until < now()
        order by lease_until limit p_limit for update skip locked
    loop
        perform end_attempt(v_job, 'lost', jsonb_build_object(
            'code', 'worker_lost',
            'title', 'The worker went silent',
            'detail', format('Attempt %s stopped answering before it was done.', v_job.attempt),
            'remedy', 'Retry the job; if it happens again with the same file, tell the operators.'), true, null);
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;

-- Jobs nobody has started in time. The error says whether a worker that knows the kind is running.
create function fail_overdue_jobs(p_limit integer) returns integer language plpgsql as $$
declare
    v_job jobs;
    v_error jsonb;
    v_count integer := 0;
begin
    for v_job in
        select * from jobs where state = 'queued' and start_by < now()
        order by start_by limit p_limit for update skip locked
    loop
        if exists (select 1 from service_instances
                   where v_job.kind = any (kinds) and seen_at > now() - interval '1 minute') then
            v_error := jsonb_build_object('code', 'not_started', 'title', 'The job was not started in time',
                'detail', format('No slot was free for %s before %s.', v_job.kind, v_job.start_by),
                'remedy', 'Retry it when the queue is shorter, or ask for more workers.');
        else
            v_error := jsonb_build_object('code', 'no_worker', 'title', 'No worker knows this kind',
                'detail', format('No running processor knows %s.', v_job.kind),
                'remedy', 'Ask the operators to start a processor that does, then retry.');
        end if;
        update jobs set state = 'failed', error = v_error, ended_at = now(), sequence = sequence + 1
        where id = v_job.id returning * into v_job;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
