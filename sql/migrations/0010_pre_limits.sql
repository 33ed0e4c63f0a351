-- Limits of a kind: the time in all, and which codes are tried again.

alter table kinds
    -- From acceptance to the end; null: no limit.
    add column total_seconds double precision check (total_seconds > 0),
    -- Codes that are tried again whatever the failure says of itself, and codes that are not.
    add column retry_codes text[] not null default '{}',
    add column no_retry_codes text[] not null default '{}';

alter table jobs add column end_by timestamptz;  -- failed if it has not ended by then; null: no limit

-- Accept a job. A kind nobody has registered yet gets the limits below, so that an upload is
-- accepted before the first processor has ever started. The same id again gives the job that is there.
create or replace function create_job(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text default null, p_retry_of uuid default null, p_id uuid default null)
returns jobs language plpgsql as $$
declare
    v_kind kinds;
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select * into v_kind from kinds where kind = p_kind;
    insert into jobs (id, workspace_id, cloud_id, kind, pool, params, priority, start_by, end_by, max_failures,
                      backoff_seconds, requested_by, traceparent, retry_of)
    values (coalesce(p_id, uuid7()), p_workspace, p_cloud, p_kind, coalesce(v_kind.pool, 'default'), p_params,
            coalesce(p_priority, 0::smallint),
            now() + make_interval(secs => coalesce(v_kind.start_seconds, 86400)),
            now() + make_interval(secs => v_kind.total_seconds),
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

-- Why a job fails that has not ended in time; `p_code` is how its last attempt ended, if it had one.
create function out_of_time(p_job jobs, p_code text default null) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'code', 'total_time_limit',
        'title', 'The job was not done in time',
        'detail', format('%s had to end by %s.', p_job.kind, p_job.end_by)
            || coalesce(format(' Its last attempt ended with %s.', p_code), ''),
        'remedy', 'Retry it when less is going on, or ask the operators for a longer limit of its kind.')
$$;

-- End an attempt that did not succeed, under the lock its caller holds on the running row: cancelled
-- where that was asked for, queued again where the code may be tried again and budget and time are
-- left, failed otherwise. What the kind says of a code goes before what the failure says of itself.
create or replace function end_attempt(
    p_job jobs, p_outcome text, p_error jsonb, p_retryable boolean, p_log_tail text)
returns job_state language plpgsql as $$
declare
    v_kind kinds;
    v_job jobs;
    v_pause double precision;
    v_error jsonb := p_error;
    v_again boolean;
begin
    select * into v_kind from kinds where kind = p_job.kind;
    v_again := (p_retryable or coalesce(p_error ->> 'code' = any (v_kind.retry_codes), false))
        and not coalesce(p_error ->> 'code' = any (v_kind.no_retry_codes), false)
        and p_job.failures + 1 < p_job.max_failures;
    if v_again and p_job.end_by < now() then
        v_again := false;
        v_error := out_of_time(p_job, p_error ->> 'code');
    end if;
    if p_job.cancel_requested_at is not null then
        update jobs set state = 'cancelled', progress = null, lease_owner = null, lease_until = null,
                        claim_token = null, ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = 'cancelled', error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'cancelled');
    elsif v_again then
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
        update jobs set state = 'failed', failures = failures + 1, error = v_error, progress = null,
                        lease_owner = null, lease_until = null, claim_token = null,
                        ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = case when p_outcome = 'lost' then 'lost' else 'failed' end,
                            error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
    end if;
    return v_job.state;
end
$$;

-- Jobs nobody has started in time (the error says whether a worker that knows the kind is running),
-- and jobs that have not ended in time. A worker learns of the latter by its heartbeat and ends its
-- attempt itself, with its log; where none has done so within half a minute, this does, and the
-- worker finds its lease lost. Returns how many.
create or replace function fail_overdue_jobs(p_limit integer) returns integer language plpgsql as $$
declare
    v_job jobs;
    v_error jsonb;
    v_count integer := 0;
begin
    for v_job in
        select * from jobs
        where state = 'running' and cancel_requested_at is null and end_by < now() - interval '30 seconds'
        order by end_by limit p_limit for update skip locked
    loop
        perform end_attempt(v_job, 'lost', out_of_time(v_job), false, null);
        v_count := v_count + 1;
    end loop;
    for v_job in
        select * from jobs where state in ('waiting', 'queued') and end_by < now()
        order by end_by limit p_limit for update skip locked
    loop
        v_error := out_of_time(v_job, v_job.error ->> 'code');
        update jobs set state = 'failed', error = v_error, ended_at = now(), sequence = sequence + 1
        where id = v_job.id returning * into v_job;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
        v_count := v_count + 1;
    end loop;
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
