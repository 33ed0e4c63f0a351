CREATE TYPE public.cloud_state AS ENUM (
    'empty',
    'stored'
);

CREATE TYPE public.dead_letter_state AS ENUM (
    'open',
    'replay_asked',
    'replayed',
    'discarded'
);

CREATE TYPE public.delivery_state AS ENUM (
    'pending',
    'sent',
    'failed'
);

CREATE TYPE public.job_state AS ENUM (
    'waiting',
    'queued',
    'running',
    'succeeded',
    'failed',
    'cancelled'
);

CREATE TYPE public.member_role AS ENUM (
    'viewer',
    'editor',
    'admin'
);

CREATE FUNCTION public.best_job(p_workspace uuid, p_kinds text[]) RETURNS TABLE(kind text, priority smallint, available_at timestamp with time zone, id uuid)
    LANGUAGE sql STABLE
    AS $$
    select head.kind, head.priority, head.available_at, head.id
    from unnest(p_kinds) as wanted(kind)
    cross join lateral (
        select j.kind, j.priority, j.available_at, j.id from jobs j
        where j.state = 'queued' and j.workspace_id = p_workspace and j.kind = wanted.kind
          and j.available_at <= now()
        order by j.priority desc, j.available_at, j.id limit 1) head
    order by head.priority desc, head.available_at, head.id limit 1
$$;

CREATE FUNCTION public.uuid7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid
$$;

CREATE TABLE public.jobs (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    cloud_id uuid,
    kind text NOT NULL,
    pool text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    state public.job_state DEFAULT 'queued'::public.job_state NOT NULL,
    available_at timestamp with time zone DEFAULT now() NOT NULL,
    start_by timestamp with time zone NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    max_failures integer NOT NULL,
    backoff_seconds double precision NOT NULL,
    lease_owner text,
    lease_until timestamp with time zone,
    claim_token uuid,
    cancel_requested_at timestamp with time zone,
    progress jsonb,
    result jsonb,
    error jsonb,
    retry_of uuid,
    requested_by text NOT NULL,
    traceparent text,
    sequence integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    schedule_id uuid,
    unique_key text,
    end_by timestamp with time zone,
    depth smallint DEFAULT 0 NOT NULL,
    has_children boolean DEFAULT false NOT NULL,
    inputs jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT an_end_has_a_time CHECK (((state = ANY (ARRAY['succeeded'::public.job_state, 'failed'::public.job_state, 'cancelled'::public.job_state])) = (ended_at IS NOT NULL))),
    CONSTRAINT failed_has_an_error CHECK (((state <> 'failed'::public.job_state) OR (error IS NOT NULL))),
    CONSTRAINT running_has_a_lease CHECK (((state = 'running'::public.job_state) = ((lease_owner IS NOT NULL) AND (lease_until IS NOT NULL) AND (claim_token IS NOT NULL)))),
    CONSTRAINT succeeded_has_a_result CHECK (((state = 'succeeded'::public.job_state) = (result IS NOT NULL)))
);

CREATE FUNCTION public.cancel_job(p_workspace uuid, p_id uuid) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.cancel_jobs(p_workspace uuid, p_filter jsonb, p_limit integer) RETURNS TABLE(matched bigint, done bigint, asked uuid[], as_of timestamp with time zone)
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.change_workspace(p_id uuid, p_weight integer, p_cap boolean, p_max_running integer) RETURNS TABLE(id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    update workspaces w
    set weight = coalesce(p_weight, w.weight),
        max_running = case when p_cap then p_max_running else w.max_running end
    where w.id = p_id
    returning w.id, w.name, w.weight, w.max_running,
              (select count(*) from jobs j where j.workspace_id = w.id and j.state = 'running'), w.created_at
$$;

CREATE FUNCTION public.choose_jobs(p_kinds text[], p_limit integer, p_light boolean) RETURNS uuid[]
    LANGUAGE plpgsql
    AS $$
declare
    v_left text[];
    v_next record;
    v_workspace workspaces;
    v_room integer;
    v_starts integer;
    v_best record;
    v_kind kinds;
    v_chosen uuid[];
    v_first boolean := true;
begin
    for v_next in select * from workspaces_in_line(p_kinds, p_light) loop
        if v_first then
            select * into v_workspace from workspaces where id = v_next.id for no key update;
        else
            select * into v_workspace from workspaces where id = v_next.id for no key update skip locked;
        end if;
        continue when not found;
        v_room := least(p_limit, v_workspace.max_running - (
            select count(*) from jobs r where r.workspace_id = v_next.id and r.state = 'running'));
        v_left := case when v_room > 0 then p_kinds end;
        loop
            select * into v_best from best_job(v_next.id, v_left);
            exit when not found;
            select * into v_kind from kinds where kind = v_best.kind;
            v_starts := v_room;
            if v_kind.starts_per_minute is not null then
                if v_first then
                    perform from kinds where kind = v_best.kind for no key update;
                else
                    perform from kinds where kind = v_best.kind for no key update skip locked;
                end if;
                v_starts := case when found then least(v_room, starts_left(v_best.kind, v_kind.starts_per_minute)) end;
            end if;
            if v_starts > 0 then
                -- Not by its id: while somebody cancels the best one, the next is as good.
                select array_agg(best.id) into v_chosen from (
                    select j.id from jobs j
                    where j.state = 'queued' and j.workspace_id = v_next.id and j.kind = v_best.kind
                      and j.available_at <= now()
                    order by j.priority desc, j.available_at, j.id limit v_starts
                    for update skip locked) best;
            end if;
            if v_chosen is null then
                v_left := array_remove(v_left, v_best.kind);
                continue;
            end if;
            if p_light then
                update workspaces
                set light_turn = greatest(light_turn, v_next.line) + cardinality(v_chosen) * 1.0 / weight,
                    light_turn_at = clock_timestamp()
                where id = v_next.id;
            else
                update workspaces
                set turn = greatest(turn, v_next.line) + cardinality(v_chosen) * 1.0 / weight,
                    turn_at = clock_timestamp()
                where id = v_next.id;
            end if;
            if v_kind.starts_per_minute is not null then
                delete from kind_starts
                where kind = v_best.kind and at <= clock_timestamp() - interval '1 minute';
                insert into kind_starts (kind) select v_best.kind from unnest(v_chosen);
            end if;
            return v_chosen;
        end loop;
        v_first := false;
    end loop;
    return null;
end
$$;

CREATE FUNCTION public.choose_workspace(p_sha256 bytea, p_workspace uuid) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    with chosen as (
        update sessions s set looks_at = p_workspace
        where s.id_sha256 = p_sha256 and s.expires_at > now()
          and exists (select from members m where m.user_id = s.user_id and m.workspace_id = p_workspace)
        returning 1)
    select exists (select from chosen)
$$;

CREATE FUNCTION public.claim_job(p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid, p_cores integer DEFAULT NULL::integer, p_memory bigint DEFAULT NULL::bigint) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
declare
    v_chosen uuid[];
    v_job jobs;
begin
    select * into v_job from jobs where claim_token = p_token and state = 'running';
    if found then
        return next v_job;
        return;
    end if;
    v_chosen := choose_jobs(open_kinds(p_kinds, p_cores, p_memory), 1, false);
    update jobs set state = 'running', attempt = attempt + 1, lease_owner = p_instance,
                    lease_until = now() + make_interval(secs => p_lease_seconds), claim_token = p_token,
                    started_at = now(), progress = null, sequence = sequence + 1
    where id = v_chosen[1]
    returning * into v_job;
    if found then
        insert into attempts (job_id, attempt, workspace_id, instance)
        values (v_job.id, v_job.attempt, v_job.workspace_id, p_instance);
        perform tell_job(v_job, 'started');
        return next v_job;
    end if;
end
$$;

CREATE FUNCTION public.claim_light_jobs(p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid, p_limit integer) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
declare
    v_chosen uuid[];
begin
    return query select * from jobs where claim_token = p_token and state = 'running';
    if found then
        return;
    end if;
    v_chosen := choose_jobs(open_kinds(p_kinds, null, null), p_limit, true);
    return query
        with claimed as (
            update jobs j
            set state = 'running', attempt = attempt + 1, lease_owner = p_instance,
                lease_until = now() + make_interval(secs => p_lease_seconds), claim_token = p_token,
                started_at = now(), progress = null, sequence = sequence + 1
            where j.id = any (v_chosen)
            returning j as job),
        noted as (
            insert into attempts (job_id, attempt, workspace_id, instance)
            select (c.job).id, (c.job).attempt, (c.job).workspace_id, p_instance from claimed c),
        said as materialized (select uuid7() as event, c.job from claimed c),
        recorded as (
            insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
            select s.event, (s.job).workspace_id, (s.job).id, (s.job).sequence, 'started',
                   job_message(s.job, s.event, 'started', '{}')
            from said s)
        select (s.job).* from said s;
end
$$;

CREATE FUNCTION public.close_session(p_sha256 bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    delete from sessions where id_sha256 = p_sha256
$$;

CREATE FUNCTION public.clouds_that_contain(p_properties jsonb) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select id from clouds where workspace_id = current_workspace() and properties @> p_properties
$$;

CREATE FUNCTION public.create_child_job(p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text, p_traceparent text, p_after uuid[], p_inputs jsonb DEFAULT '{}'::jsonb, p_retry_of uuid DEFAULT NULL::uuid, p_id uuid DEFAULT NULL::uuid) RETURNS public.jobs
    LANGUAGE plpgsql
    AS $$
declare
    v_parents uuid[];
    v_known integer;
    v_depth smallint;
    v_kind kinds;
    v_job jobs;
begin
    perform enter_workspace(p_workspace);
    select * into v_job from jobs where id = p_id;
    if found then
        return v_job;
    end if;
    select array_agg(named.id) into v_parents from (
        select unnest(p_after) as id union select (value ->> 'job')::uuid from jsonb_each(p_inputs)) named;
    if coalesce(cardinality(v_parents), 0) not between 1 and 100 then
        raise exception 'a job waits for 1 to 100 others' using errcode = 'check_violation';
    end if;
    -- Who deletes a cloud locks it before its jobs; so do we.
    perform 1 from clouds where id = p_cloud for key share;
    select count(*), max(depth) + 1 into v_known, v_depth from (
        select depth from jobs where workspace_id = p_workspace and id = any (v_parents)
        order by depth, id for no key update) locked;
    if v_known <> cardinality(v_parents) then
        raise exception 'a parent is not known' using errcode = 'foreign_key_violation';
    end if;
    select * into v_kind from kinds where kind = p_kind;
    insert into jobs (id, workspace_id, cloud_id, kind, pool, params, priority, state, start_by, max_failures,
                      backoff_seconds, requested_by, traceparent, retry_of, depth, inputs,
                      sequence)  -- its first event, of number 1, is that it is queued
    values (coalesce(p_id, uuid7()), p_workspace, p_cloud, p_kind, coalesce(v_kind.pool, 'default'), p_params,
            coalesce(p_priority, 0::smallint), 'waiting',
            now() + make_interval(secs => coalesce(v_kind.start_seconds, 86400)),
            coalesce(v_kind.attempts, 3), coalesce(v_kind.backoff_seconds, 2), p_requested_by, p_traceparent,
            p_retry_of, v_depth, p_inputs, 0)
    on conflict (id) do nothing
    returning * into v_job;
    if found then
        insert into job_parents (workspace_id, child_id, parent_id)
        select p_workspace, v_job.id, unnest(v_parents);
        update jobs set has_children = true
        where workspace_id = p_workspace and id = any (v_parents) and not has_children;
        perform settle_child(v_job.id);
        p_id := v_job.id;
    end if;
    select * into v_job from jobs where id = p_id;
    return v_job;
end
$$;

CREATE FUNCTION public.create_child_job_once(p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text, p_traceparent text, p_after uuid[], p_inputs jsonb, p_route text, p_key text, p_fingerprint bytea) RETURNS public.jobs
    LANGUAGE plpgsql
    AS $$
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
        return create_child_job(p_workspace, p_kind, p_params, p_cloud, p_priority, p_requested_by,
                                p_traceparent, p_after, p_inputs, p_id => v_id);
    end if;
    select * into v_known from idempotency_keys
    where workspace_id = p_workspace and principal = p_requested_by and route = p_route and key = p_key;
    if v_known.fingerprint = p_fingerprint then
        select * into v_job from jobs where id = v_known.job_id;
    end if;
    return v_job;
end
$$;

CREATE FUNCTION public.create_job(p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text, p_traceparent text DEFAULT NULL::text, p_retry_of uuid DEFAULT NULL::uuid, p_id uuid DEFAULT NULL::uuid) RETURNS public.jobs
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.create_job_once(p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text, p_traceparent text, p_route text, p_key text, p_fingerprint bytea) RETURNS public.jobs
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.create_unique_job(p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text, p_traceparent text, p_unique_key text, p_refuse boolean, p_route text DEFAULT NULL::text, p_key text DEFAULT NULL::text, p_fingerprint bytea DEFAULT NULL::bytea) RETURNS TABLE(job public.jobs, made boolean)
    LANGUAGE plpgsql
    AS $$
declare
    v_known idempotency_keys;
    v_job jobs;
    v_made boolean;
begin
    perform enter_workspace(p_workspace);
    select * into v_known from idempotency_keys i
    where i.workspace_id = p_workspace and i.principal = p_requested_by and i.route = p_route and i.key = p_key;
    if found then
        return query select j, true from jobs j
                     where j.id = v_known.job_id and v_known.fingerprint = p_fingerprint;
        return;
    end if;
    for v_try in 1..10 loop
        select * into v_job from jobs j
        where j.workspace_id = p_workspace and j.unique_key = p_unique_key
          and j.state in ('waiting', 'queued', 'running');
        v_made := not found;
        exit when found;
        begin
            v_job := create_job(
                p_workspace => p_workspace, p_kind => p_kind, p_params => p_params, p_cloud => p_cloud,
                p_priority => p_priority, p_requested_by => p_requested_by, p_traceparent => p_traceparent);
            update jobs j set unique_key = p_unique_key where j.id = v_job.id returning * into v_job;
            exit;
        exception when unique_violation then
            -- Somebody was quicker; theirs may have ended by the time we look.
            v_job := null;
        end;
    end loop;
    if v_job.id is null then
        raise exception 'no turn for the unique key %', p_unique_key using errcode = 'serialization_failure';
    end if;
    if p_key is not null and (v_made or not p_refuse) then
        insert into idempotency_keys (workspace_id, principal, route, key, fingerprint, job_id)
        values (p_workspace, p_requested_by, p_route, p_key, p_fingerprint, v_job.id)
        on conflict do nothing;
    end if;
    return query select v_job, v_made;
end
$$;

CREATE FUNCTION public.current_workspace() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    select nullif(current_setting('app.workspace', true), '')::uuid
$$;

CREATE FUNCTION public.delete_cloud(p_workspace uuid, p_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.end_attempt(p_job public.jobs, p_outcome text, p_error jsonb, p_retryable boolean, p_log_tail text) RETURNS public.job_state
    LANGUAGE plpgsql
    AS $$
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
    if v_again and p_job.cancel_requested_at is null then
        v_error := p_error || jsonb_build_object('remedy', 'Nothing needs to be done: it is tried again by itself.');
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
        update jobs set state = 'queued', failures = failures + 1, error = v_error, progress = null,
                        available_at = now() + make_interval(secs => v_pause),
                        start_by = greatest(start_by, now() + make_interval(secs => v_pause + 3600)),
                        lease_owner = null, lease_until = null, claim_token = null, sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = p_outcome, error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'retry_scheduled',
                         jsonb_build_object('error', v_error, 'available_at', v_job.available_at));
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

CREATE FUNCTION public.enter_workspace(p_workspace uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    perform set_config('app.workspace', p_workspace::text, true);
end
$$;

CREATE FUNCTION public.fail_job(p_job uuid, p_attempt integer, p_error jsonb, p_retryable boolean, p_log_tail text) RETURNS public.job_state
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.fail_overdue_jobs(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
        v_error := why_not_started(v_job);
        update jobs set state = 'failed', error = v_error, ended_at = now(), sequence = sequence + 1
        where id = v_job.id returning * into v_job;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;

CREATE FUNCTION public.filter_jobs(p_workspace uuid, p_filter jsonb) RETURNS SETOF public.jobs
    LANGUAGE sql STABLE
    AS $$
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

CREATE FUNCTION public.find_api_key(p_id text) RETURNS TABLE(workspace_id uuid, name text, secret_sha256 bytea, operator boolean, role public.member_role, previous_sha256 bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select workspace_id, name, secret_sha256, operator, role,
           case when previous_until > now() then previous_sha256 end
    from api_keys
    where id = p_id and revoked_at is null and (expires_at is null or expires_at > now())
$$;

CREATE FUNCTION public.find_session(p_sha256 bytea) RETURNS TABLE(user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role public.member_role, chosen uuid, expires_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select p.*, s.looks_at, s.expires_at
    from sessions s, read_person(s.user_id) p
    where s.id_sha256 = p_sha256 and s.expires_at > now()
$$;

CREATE FUNCTION public.finish_job(p_job uuid, p_attempt integer, p_result jsonb, p_products jsonb, p_log_tail text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.finish_light_jobs(p_ends jsonb) RETURNS SETOF uuid
    LANGUAGE sql
    AS $$
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

CREATE FUNCTION public.finish_upload(p_workspace uuid, p_cloud uuid, p_name text, p_object text, p_bytes bigint, p_crc32c text, p_params jsonb, p_requested_by text, p_traceparent text) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.guard_job_moves() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if new.attempt < old.attempt or new.sequence < old.sequence or new.failures < old.failures then
        raise exception 'job %: attempt, failures and sequence only grow', old.id using errcode = 'check_violation';
    end if;
    if new.state is distinct from old.state and not (
        (old.state = 'waiting' and new.state in ('queued', 'failed', 'cancelled'))
        or (old.state = 'queued' and new.state in ('running', 'failed', 'cancelled'))
        or (old.state = 'running' and new.state in ('succeeded', 'failed', 'cancelled', 'queued')))
    then
        raise exception 'job %: % -> % is not a move', old.id, old.state, new.state using errcode = 'check_violation';
    end if;
    if old.state in ('succeeded', 'failed', 'cancelled') and new.attempt <> old.attempt then
        raise exception 'job % has ended', old.id using errcode = 'check_violation';
    end if;
    return new;
end
$$;

CREATE FUNCTION public.guard_new_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if new.priority not between -100 and 100 or new.depth not between 0 and 100
        or new.attempt < 0 or new.failures < 0 or new.max_failures < 1
        or length(new.unique_key) not between 1 and 255
        or jsonb_typeof(new.params) <> 'object' or jsonb_typeof(new.inputs) <> 'object'
    then
        raise exception 'job %: a value is out of its range', new.id using errcode = 'check_violation';
    end if;
    return new;
end
$$;

CREATE FUNCTION public.job_message(p_job public.jobs, p_event uuid, p_type text, p_detail jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
begin
    return jsonb_strip_nulls(jsonb_build_object(
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
            'requested_by', p_job.requested_by) || p_detail));
end
$$;

CREATE FUNCTION public.keep_dead_letter(p_fingerprint bytea, p_owner text, p_queue text, p_exchange text, p_routing_key text, p_sender text, p_reason text, p_detail text, p_message_id text, p_headers jsonb, p_body bytea, p_body_bytes bigint, p_redelivered boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    v_letter dead_letters;
begin
    insert into dead_letters (fingerprint, owner, queue, exchange, routing_key, sender, reason, detail, message_id,
                              headers, body, body_bytes)
    values (p_fingerprint, p_owner, p_queue, p_exchange, p_routing_key, p_sender, p_reason, p_detail, p_message_id,
            p_headers, p_body, p_body_bytes)
    on conflict (fingerprint) do nothing;
    if found then
        return true;
    end if;
    if p_redelivered then
        return false;
    end if;
    select * into v_letter from dead_letters where fingerprint = p_fingerprint for update;
    if v_letter.state in ('replayed', 'discarded') then
        insert into dead_letter_acts (letter_id, act, by, note)
        values (v_letter.id, 'died_again', 'service:processor', p_reason);
    end if;
    update dead_letters
    set seen = seen + 1, last_seen_at = now(), reason = p_reason, detail = p_detail, headers = p_headers,
        state = case when state = 'replay_asked' then state else 'open' end
    where id = v_letter.id;
    return false;
end
$$;

CREATE FUNCTION public.list_workspaces(p_after timestamp with time zone, p_after_id uuid, p_limit integer) RETURNS TABLE(id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select w.id, w.name, w.weight, w.max_running,
           (select count(*) from jobs j where j.workspace_id = w.id and j.state = 'running'), w.created_at
    from workspaces w
    where p_after is null or (w.created_at, w.id) < (p_after, p_after_id)
    order by w.created_at desc, w.id desc
    limit p_limit
$$;

CREATE TABLE public.dead_letters (
    id uuid DEFAULT public.uuid7() NOT NULL,
    fingerprint bytea NOT NULL,
    owner text NOT NULL,
    queue text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    sender text,
    reason text NOT NULL,
    detail text NOT NULL,
    message_id text,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    body_bytes bigint NOT NULL,
    mended bytea,
    state public.dead_letter_state DEFAULT 'open'::public.dead_letter_state NOT NULL,
    outcome text,
    seen integer DEFAULT 1 NOT NULL,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letters_body_check CHECK ((length(body) <= 65536)),
    CONSTRAINT dead_letters_check CHECK ((body_bytes >= length(body))),
    CONSTRAINT dead_letters_fingerprint_check CHECK ((length(fingerprint) = 32)),
    CONSTRAINT dead_letters_headers_check CHECK ((jsonb_typeof(headers) = 'object'::text)),
    CONSTRAINT dead_letters_mended_check CHECK (((length(mended) >= 1) AND (length(mended) <= 65536))),
    CONSTRAINT dead_letters_owner_check CHECK ((owner = ANY (ARRAY['processor'::text, 'notifier'::text])))
);

CREATE FUNCTION public.move_dead_letter(p_id uuid, p_act text, p_by text, p_note text, p_body bytea DEFAULT NULL::bytea) RETURNS SETOF public.dead_letters
    LANGUAGE plpgsql
    AS $$
declare
    v_letter dead_letters;
begin
    select * into v_letter from dead_letters where id = p_id for update;
    if not found or v_letter.state <> (case when p_act in ('replayed', 'refused') then 'replay_asked' else 'open' end)::dead_letter_state
    then
        return;
    end if;
    update dead_letters
    set state = (case when p_act in ('replay_asked', 'replayed', 'discarded') then p_act else 'open' end)::dead_letter_state,
        mended = coalesce(p_body, mended),
        outcome = case when p_act in ('replayed', 'refused') then p_note else outcome end
    where id = p_id
    returning * into v_letter;
    insert into dead_letter_acts (letter_id, act, by, note, body) values (p_id, p_act, p_by, p_note, p_body);
    return next v_letter;
end
$$;

CREATE FUNCTION public.newest_retry(p_job uuid) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$
    with recursive retries as (
        select id, workspace_id, 0 as step from jobs where id = p_job
        union all
        select j.id, j.workspace_id, r.step + 1
        from retries r join jobs j on j.workspace_id = r.workspace_id and j.retry_of = r.id)
    select r.id from retries r join jobs j on j.id = r.id order by j.created_at desc, r.step desc limit 1
$$;

CREATE FUNCTION public.note_key_uses(p_ids text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    update api_keys set last_used_at = now() where id = any (p_ids)
$$;

CREATE FUNCTION public.open_kinds(p_kinds text[], p_cores integer, p_memory bigint) RETURNS text[]
    LANGUAGE sql
    AS $$
    select coalesce(array_agg(wanted.kind), '{}')
    from unnest(p_kinds) as wanted(kind)
    left join kinds k on k.kind = wanted.kind
    where k.kind is null
       or (k.paused_at is null
           and k.cores <= coalesce(p_cores, k.cores)
           and k.memory_bytes <= coalesce(p_memory, k.memory_bytes)
           and coalesce(starts_left(k.kind, k.starts_per_minute) > 0, true))
$$;

CREATE FUNCTION public.open_session(p_sha256 bytea, p_user uuid, p_workspace uuid, p_seconds double precision) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    delete from sessions
    where id_sha256 in (select id_sha256 from sessions where expires_at < now() limit 100 for update skip locked);
    insert into sessions (id_sha256, user_id, looks_at, expires_at)
    values (p_sha256, p_user, p_workspace, now() + make_interval(secs => p_seconds));
$$;

CREATE FUNCTION public.out_of_time(p_job public.jobs, p_code text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
    select jsonb_build_object(
        'code', 'total_time_limit',
        'title', 'The job was not done in time',
        'detail', format('%s had to end by %s.', p_job.kind, p_job.end_by)
            || coalesce(format(' Its last attempt ended with %s.', p_code), ''),
        'remedy', 'Retry it when less is going on, or ask the operators for a longer limit of its kind.')
$$;

CREATE FUNCTION public.plan_deliveries(p_event uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    v_event job_events;
begin
    select * into v_event from job_events
    where event_id = p_event and type in ('succeeded', 'failed', 'cancelled');
    if not found then
        return false;
    end if;
    insert into inbox (consumer, source, id)
    values ('notifier', v_event.message ->> 'source', p_event::text)
    on conflict do nothing;
    if not found then
        return false;
    end if;
    insert into deliveries (workspace_id, event_id, job_id, channel, recipient, message)
    select v_event.workspace_id, p_event, v_event.job_id, 'webhook', w.id::text, v_event.message
    from webhooks w where w.workspace_id = v_event.workspace_id and w.disabled_at is null
    union all
    select v_event.workspace_id, p_event, v_event.job_id, 'email', m.email, v_event.message
    from members m where m.workspace_id = v_event.workspace_id and m.notify_by_mail
    on conflict do nothing;
    return true;
end
$$;

CREATE FUNCTION public.projects_that_contain(p_config jsonb) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select id from projects where workspace_id = current_workspace() and config @> p_config
$$;

CREATE TABLE public.clouds (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    project_id uuid,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    properties jsonb DEFAULT '{}'::jsonb NOT NULL,
    state public.cloud_state DEFAULT 'empty'::public.cloud_state NOT NULL,
    source_name text,
    source_object text,
    source_bytes bigint,
    source_crc32c text,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT clouds_description_check CHECK ((length(description) <= 10000)),
    CONSTRAINT clouds_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT clouds_properties_check CHECK ((jsonb_typeof(properties) = 'object'::text)),
    CONSTRAINT clouds_source_bytes_check CHECK ((source_bytes > 0)),
    CONSTRAINT clouds_source_crc32c_check CHECK ((source_crc32c ~ '^[0-9a-f]{8}$'::text)),
    CONSTRAINT stored_has_a_source CHECK (((state = 'stored'::public.cloud_state) = ((source_object IS NOT NULL) AND (source_name IS NOT NULL) AND (source_bytes IS NOT NULL) AND (source_crc32c IS NOT NULL))))
);

CREATE VIEW public.cloud_details WITH (security_invoker='true') AS
 SELECT c.id,
    c.workspace_id,
    c.project_id,
    c.name,
    c.description,
    c.properties,
    c.state,
    c.source_name,
    c.source_object,
    c.source_bytes,
    c.source_crc32c,
    c.version,
    c.created_at,
    c.updated_at,
    latest.id AS job_id,
    milled.result AS summary
   FROM ((public.clouds c
     LEFT JOIN LATERAL ( SELECT j.id
           FROM public.jobs j
          WHERE ((j.workspace_id = c.workspace_id) AND (j.cloud_id = c.id) AND (j.kind = 'pointcloud.ingest'::text))
          ORDER BY j.created_at DESC
         LIMIT 1) latest ON (true))
     LEFT JOIN LATERAL ( SELECT j.result
           FROM public.jobs j
          WHERE ((j.workspace_id = c.workspace_id) AND (j.cloud_id = c.id) AND (j.kind = 'pointcloud.ingest'::text) AND (j.state = 'succeeded'::public.job_state))
          ORDER BY j.created_at DESC
         LIMIT 1) milled ON (true));

CREATE FUNCTION public.read_cloud(p_workspace uuid, p_id uuid) RETURNS SETOF public.cloud_details
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query select * from cloud_details where id = p_id;
end
$$;

CREATE TABLE public.products (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    cloud_id uuid,
    name text NOT NULL,
    object text NOT NULL,
    media_type text NOT NULL,
    bytes bigint NOT NULL,
    crc32c text NOT NULL,
    sha256 text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT products_bytes_check CHECK ((bytes >= 0)),
    CONSTRAINT products_crc32c_check CHECK ((crc32c ~ '^[0-9a-f]{8}$'::text)),
    CONSTRAINT products_name_check CHECK ((name ~ '^[a-z][a-z0-9_-]{0,63}$'::text)),
    CONSTRAINT products_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text))
);

CREATE FUNCTION public.read_cloud_products(p_workspace uuid, p_cloud uuid) RETURNS SETOF public.products
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query
        select distinct on (name) * from products
        where workspace_id = p_workspace and cloud_id = p_cloud
        order by name, created_at desc;
end
$$;

CREATE FUNCTION public.read_families(p_workspace uuid, p_jobs uuid[]) RETURNS TABLE(job_id uuid, after uuid[], waiting_for uuid[], children uuid[])
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query
        select j.id,
               array(select l.parent_id from job_parents l where l.child_id = j.id order by 1),
               array(select l.parent_id from job_parents l join jobs p on p.id = l.parent_id
                     where l.child_id = j.id and j.state = 'waiting' and p.ended_at is null order by 1),
               array(select l.child_id from job_parents l where l.parent_id = j.id order by 1 limit 100)
        from jobs j where j.id = any (p_jobs);
end
$$;

CREATE FUNCTION public.read_job(p_workspace uuid, p_id uuid) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query select * from jobs where id = p_id;
end
$$;

CREATE TABLE public.job_events (
    id bigint NOT NULL,
    event_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    job_id uuid NOT NULL,
    sequence integer NOT NULL,
    type text NOT NULL,
    message jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id(),
    CONSTRAINT job_events_type_check CHECK ((type = ANY (ARRAY['queued'::text, 'started'::text, 'retry_scheduled'::text, 'cancel_requested'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE FUNCTION public.read_job_events(p_workspace uuid, p_job uuid, p_after integer) RETURNS SETOF public.job_events
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query select * from job_events where job_id = p_job and sequence > p_after order by sequence;
end
$$;

CREATE FUNCTION public.read_job_products(p_workspace uuid, p_job uuid) RETURNS SETOF public.products
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    return query select * from products where job_id = p_job order by name;
end
$$;

CREATE FUNCTION public.read_live_events(p_workspace uuid, p_xid xid8, p_id bigint, p_limit integer) RETURNS TABLE(xid text, id bigint, job_id uuid, type text, message jsonb, settled boolean)
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.read_person(p_user uuid) RETURNS TABLE(user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role public.member_role)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    select u.id, u.email, u.name, w.id, w.name, m.role
    from users u left join members m on m.user_id = u.id left join workspaces w on w.id = m.workspace_id
    where u.id = p_user
    order by m.created_at, m.id
$$;

CREATE FUNCTION public.read_workspace(p_id uuid, p_lock boolean) RETURNS TABLE(id uuid, name text, weight integer, max_running integer, running bigint, created_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

CREATE FUNCTION public.reap_lost_jobs(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.refuse_schedule(p_id uuid, p_planned timestamp with time zone, p_error jsonb) RETURNS void
    LANGUAGE sql
    AS $$
    update schedules
    set last_planned_at = next_at, last_at = now(), last_outcome = 'refused', last_error = p_error,
        paused_at = now(), next_at = null, waiting_since = null
    where id = p_id and next_at = p_planned
$$;

CREATE FUNCTION public.release_job(p_job uuid, p_attempt integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.remember_job_end() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform set_config('app.ended_jobs',
                       concat_ws(',', nullif(current_setting('app.ended_jobs', true), ''), new.id), true);
    return null;
end
$$;

CREATE FUNCTION public.retry_job(p_workspace uuid, p_id uuid, p_requested_by text, p_traceparent text) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
declare
    v_job jobs;
    v_parents jsonb;  -- old -> the one that stands for it
begin
    perform enter_workspace(p_workspace);
    select * into v_job from jobs
    where id = p_id and workspace_id = p_workspace and state in ('failed', 'cancelled');
    if not found then
        return;
    end if;
    if v_job.depth = 0 then
        return query select * from create_job(
            p_workspace => p_workspace, p_kind => v_job.kind, p_params => v_job.params, p_cloud => v_job.cloud_id,
            p_priority => v_job.priority, p_requested_by => p_requested_by, p_traceparent => p_traceparent,
            p_retry_of => p_id);
        return;
    end if;
    select jsonb_object_agg(p.id, case when p.state = 'succeeded' then p.id else newest_retry(p.id) end)
    into v_parents
    from job_parents l join jobs p on p.id = l.parent_id where l.child_id = p_id;
    return query select * from create_child_job(
        p_workspace, v_job.kind, v_job.params, v_job.cloud_id, v_job.priority, p_requested_by, p_traceparent,
        (select array_agg(distinct value::uuid) from jsonb_each_text(v_parents)),
        (select coalesce(jsonb_object_agg(key, value || jsonb_build_object('job', v_parents -> (value ->> 'job'))), '{}')
         from jsonb_each(v_job.inputs)),
        p_id);
end
$$;

CREATE FUNCTION public.retry_jobs(p_workspace uuid, p_filter jsonb, p_limit integer, p_requested_by text, p_traceparent text) RETURNS TABLE(matched bigint, done bigint, as_of timestamp with time zone)
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.ring_for(p_job public.jobs) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if p_job.available_at <= now() then
        return;  -- tell_job has said it
    end if;
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
                'data', jsonb_build_object('job_id', p_job.id, 'kind', p_job.kind, 'pool', p_job.pool))));
end
$$;

CREATE FUNCTION public.rotate_api_key(p_id text, p_sha256 bytea, p_grace_seconds integer) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    with rotated as (
        update api_keys
        set previous_sha256 = secret_sha256, previous_until = now() + make_interval(secs => p_grace_seconds),
            secret_sha256 = p_sha256
        where id = p_id and workspace_id = current_workspace() and revoked_at is null
          and (expires_at is null or expires_at > now())
        returning id)
    select exists (select from rotated)
$$;

CREATE FUNCTION public.run_schedule(p_id uuid, p_planned timestamp with time zone, p_job uuid, p_next timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
    v_schedule schedules;
    v_outcome text;
begin
    -- Who deletes a cloud locks it before its schedules, and the new job needs the cloud: rather than
    -- be the deadlock, the schedule comes later.
    perform set_config('lock_timeout', '500ms', true);
    select * into v_schedule from schedules where id = p_id and next_at = p_planned for update;
    if not found then
        return null;
    end if;
    if v_schedule.missed = 'skip' and v_schedule.waiting_since is null
       and p_planned < now() - interval '1 minute' then
        v_outcome := 'missed';
    elsif exists (select 1 from jobs
                  where id = v_schedule.last_job_id and state in ('waiting', 'queued', 'running')) then
        if v_schedule.overlap <> 'skip' then
            if v_schedule.overlap = 'cancel' then
                perform cancel_job(v_schedule.workspace_id, v_schedule.last_job_id);
            end if;
            update schedules set waiting_since = coalesce(waiting_since, now()) where id = p_id;
            return 'waiting';
        end if;
        v_outcome := 'skipped';
    else
        perform create_job(
            p_workspace => v_schedule.workspace_id, p_kind => v_schedule.kind, p_params => v_schedule.params,
            p_cloud => v_schedule.cloud_id, p_priority => v_schedule.priority,
            p_requested_by => 'schedule:' || p_id, p_id => p_job);
        update jobs set schedule_id = p_id where id = p_job;
        v_outcome := 'ordered';
    end if;
    update schedules
    set next_at = p_next, waiting_since = null, last_planned_at = p_planned, last_at = now(),
        last_outcome = v_outcome, last_error = null,
        last_job_id = case when v_outcome = 'ordered' then p_job else last_job_id end
    where id = p_id;
    return v_outcome;
end
$$;

CREATE FUNCTION public.settle_child(p_child uuid) RETURNS public.job_state
    LANGUAGE plpgsql
    AS $$
declare
    v_job jobs;
    v_parent jobs;
    v_kind kinds;
    v_error jsonb;
    v_due timestamptz;
begin
    select * into v_job from jobs where id = p_child and state = 'waiting' for update;
    if not found then
        return null;
    end if;
    -- Each statement sees what was committed before it began: also the end that held the lock till now.
    select p.* into v_parent from job_parents l join jobs p on p.id = l.parent_id
    where l.child_id = p_child and p.state in ('failed', 'cancelled')
    order by p.ended_at, p.id limit 1;
    if found then
        v_error := jsonb_build_object(
            'code', 'parent_failed',
            'title', 'A job it waited for did not succeed',
            'detail', case v_parent.state
                when 'cancelled' then format('Job %s (%s) was cancelled.', v_parent.id, v_parent.kind)
                else format('Job %s (%s) failed with %s.', v_parent.id, v_parent.kind, v_parent.error ->> 'code') end,
            'remedy', 'Retry that job, then this one: it waits for the newest retry.');
        update jobs set state = 'failed', error = v_error, ended_at = now(), sequence = sequence + 1
        where id = p_child returning * into v_job;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
        return v_job.state;
    end if;
    if exists (select 1 from job_parents l join jobs p on p.id = l.parent_id
               where l.child_id = p_child and p.state <> 'succeeded') then
        return null;
    end if;
    select * into v_kind from kinds where kind = v_job.kind;
    v_due := greatest(v_job.available_at, now());
    update jobs set state = 'queued', available_at = v_due,
                    start_by = v_due + make_interval(secs => coalesce(v_kind.start_seconds, 86400)),
                    end_by = v_due + make_interval(secs => v_kind.total_seconds), sequence = sequence + 1
    where id = p_child returning * into v_job;
    perform tell_job(v_job, 'queued');
    perform ring_for(v_job);
    return v_job.state;
end
$$;

CREATE FUNCTION public.settle_children() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    v_ended uuid[] := string_to_array(nullif(current_setting('app.ended_jobs', true), ''), ',')::uuid[];
    v_depth smallint := 0;
    v_child uuid;
    v_left integer := 1000;
begin
    while v_ended is not null and v_left > 0 loop  -- null: the first call of this transaction has done it
        select min(c.depth) into v_depth from job_parents l join jobs c on c.id = l.child_id
        where l.parent_id = any (v_ended) and c.state = 'waiting' and c.depth > v_depth;
        exit when v_depth is null;
        for v_child in
            select distinct c.id from job_parents l join jobs c on c.id = l.child_id
            where l.parent_id = any (v_ended) and c.state = 'waiting' and c.depth = v_depth
            order by c.id limit v_left
        loop
            if settle_child(v_child) = 'failed' then
                v_ended := v_ended || v_child;
            end if;
            v_left := v_left - 1;
        end loop;
    end loop;
    perform set_config('app.ended_jobs', '', true);
    return null;
end
$$;

CREATE FUNCTION public.settle_waiting_jobs(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    v_child uuid;
    v_count integer := 0;
begin
    for v_child in
        select c.id from jobs c
        where c.state = 'waiting'
          and (exists (select 1 from job_parents l join jobs p on p.id = l.parent_id
                       where l.child_id = c.id and p.state in ('failed', 'cancelled'))
               or not exists (select 1 from job_parents l join jobs p on p.id = l.parent_id
                              where l.child_id = c.id and p.state <> 'succeeded'))
        order by c.depth, c.id limit p_limit for update of c skip locked
    loop
        if settle_child(v_child) is not null then
            v_count := v_count + 1;
        end if;
    end loop;
    return v_count;
end
$$;

CREATE FUNCTION public.sign_in(p_issuer text, p_subject text, p_email text, p_name text) RETURNS TABLE(user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role public.member_role)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    v_user users;
begin
    select * into v_user from users where issuer = p_issuer and subject = p_subject;
    if not found or (v_user.email, v_user.name) is distinct from (p_email, p_name) then
        insert into users (issuer, subject, email, name) values (p_issuer, p_subject, p_email, p_name)
        on conflict (issuer, subject) do update set email = excluded.email, name = excluded.name
        returning * into v_user;
    end if;
    update members m set user_id = v_user.id
    where m.user_id is null and lower(m.email) = lower(p_email)
      and not exists (select from members o where o.workspace_id = m.workspace_id and o.user_id = v_user.id);
    return query select * from read_person(v_user.id);
end
$$;

CREATE FUNCTION public.starts_left(p_kind text, p_most integer) RETURNS integer
    LANGUAGE sql
    AS $$
    select p_most - (select count(*)::integer from kind_starts
                     where kind = p_kind and at > clock_timestamp() - interval '1 minute')
    where p_most is not null
$$;

CREATE FUNCTION public.take_idempotency_key(p_workspace uuid, p_principal text, p_route text, p_key text) RETURNS TABLE(taken boolean, fingerprint bytea, status smallint, headers jsonb, answer bytea)
    LANGUAGE plpgsql
    AS $$
begin
    perform enter_workspace(p_workspace);
    if not pg_try_advisory_xact_lock(
            hashtextextended(concat_ws(E'\n', p_workspace, p_principal, p_route, p_key), 0)) then
        return query select false, null::bytea, null::smallint, null::jsonb, null::bytea;
        return;
    end if;
    return query
        select true, k.fingerprint, k.status, k.headers, k.answer
        from (select true) one
        left join idempotency_keys k
            on k.workspace_id = p_workspace and k.principal = p_principal and k.route = p_route and k.key = p_key;
end
$$;

CREATE FUNCTION public.tell_job(p_job public.jobs, p_type text, p_detail jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_event uuid := uuid7();
    v_message jsonb := job_message(p_job, v_event, p_type, p_detail);
begin
    insert into job_events (event_id, workspace_id, job_id, sequence, type, message)
    values (v_event, p_job.workspace_id, p_job.id, p_job.sequence, p_type, v_message);
    insert into outbox (exchange, routing_key, mandatory, message, rings)
    values ('pointmill.events',
            p_job.workspace_id || '.job.' || replace(p_job.kind, '.', '_') || '.' || p_type,
            p_type in ('succeeded', 'failed', 'cancelled'), v_message,
            case when p_job.state = 'queued' and p_job.available_at <= now() then p_job.pool end);
end
$$;

CREATE FUNCTION public.why_not_started(p_job public.jobs) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
declare
    v_kind kinds;
    v_fits boolean;  -- null: nobody knows the kind
begin
    select * into v_kind from kinds where kind = p_job.kind;
    select bool_or((cores is null or cores >= coalesce(v_kind.cores, 1))
                   and (memory_bytes is null or memory_bytes >= coalesce(v_kind.memory_bytes, 0)))
    into v_fits
    from service_instances
    where p_job.kind = any (kinds) and seen_at > now() - interval '1 minute';
    if v_fits is null then
        return jsonb_build_object('code', 'no_worker', 'title', 'No worker knows this kind',
            'detail', format('No running processor knows %s.', p_job.kind),
            'remedy', 'Ask the operators to start a processor that does, then retry.');
    elsif not v_fits then
        return jsonb_build_object('code', 'no_worker', 'title', 'No worker is large enough for this kind',
            'detail', format('No running processor has a slot with the %s cores and %s bytes of memory that %s needs.',
                             v_kind.cores, v_kind.memory_bytes, p_job.kind),
            'remedy', 'Ask the operators to start a larger processor, then retry.');
    elsif v_kind.paused_at is not null then
        return jsonb_build_object('code', 'not_started', 'title', 'The job was not started in time',
            'detail', format('%s was paused before %s.', p_job.kind, p_job.start_by),
            'remedy', 'Ask the operators when it is resumed, then retry.');
    end if;
    return jsonb_build_object('code', 'not_started', 'title', 'The job was not started in time',
        'detail', format('No slot was free for %s before %s.', p_job.kind, p_job.start_by),
        'remedy', 'Retry it when the queue is shorter, or ask for more workers.');
end
$$;

CREATE FUNCTION public.workspaces_in_line(p_kinds text[], p_light boolean) RETURNS TABLE(id uuid, line double precision)
    LANGUAGE sql
    AS $$
    with recursive found as (
        (select j.workspace_id from jobs j where j.state = 'queued' order by j.workspace_id limit 1)
        union all
        select (select j.workspace_id from jobs j
                where j.state = 'queued' and j.workspace_id > f.workspace_id order by j.workspace_id limit 1)
        from found f where f.workspace_id is not null
    ), load as (
        select r.workspace_id, count(*) as running, count(*) filter (where r.kind = any (p_kinds)) as alike
        from jobs r where r.state = 'running' group by r.workspace_id
    ), ready as (
        select w.id, w.weight, own.turn, best.available_at, coalesce(load.alike, 0) as running,
               min(w.weight) over () as lightest,
               -- Where the workspace stood that was served last.
               first_value(own.turn - 1.0 / w.weight) over (order by own.turn_at desc) as line
        from found f
        join workspaces w on w.id = f.workspace_id
        cross join lateral (
            select case when p_light then w.light_turn else w.turn end as turn,
                   case when p_light then w.light_turn_at else w.turn_at end as turn_at) own
        cross join lateral best_job(w.id, p_kinds) best
        left join load on load.workspace_id = w.id
        where w.max_running is null or coalesce(load.running, 0) < w.max_running
    )
    select ready.id, ready.line from ready
    order by ready.running * ready.lightest / ready.weight, ready.turn, ready.available_at, ready.id
$$;

CREATE TABLE public.api_keys (
    id text NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    operator boolean DEFAULT false NOT NULL,
    role public.member_role DEFAULT 'admin'::public.member_role NOT NULL,
    last_used_at timestamp with time zone,
    previous_sha256 bytea,
    previous_until timestamp with time zone,
    created_by text DEFAULT 'operators'::text NOT NULL,
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^[0-9a-f]{8}$'::text)),
    CONSTRAINT api_keys_previous_sha256_check CHECK ((length(previous_sha256) = 32)),
    CONSTRAINT api_keys_secret_sha256_check CHECK ((length(secret_sha256) = 32))
);

CREATE TABLE public.attempts (
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    workspace_id uuid NOT NULL,
    instance text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    error jsonb,
    log_tail text,
    CONSTRAINT attempts_outcome_check CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'retried'::text, 'cancelled'::text, 'lost'::text, 'released'::text])))
);

CREATE TABLE public.dead_letter_acts (
    id bigint NOT NULL,
    letter_id uuid NOT NULL,
    act text NOT NULL,
    by text NOT NULL,
    note text NOT NULL,
    body bytea,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letter_acts_act_check CHECK ((act = ANY (ARRAY['mended'::text, 'replay_asked'::text, 'replayed'::text, 'refused'::text, 'discarded'::text, 'died_again'::text])))
);

ALTER TABLE public.dead_letter_acts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dead_letter_acts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.deliveries (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    event_id uuid NOT NULL,
    job_id uuid NOT NULL,
    channel text NOT NULL,
    recipient text NOT NULL,
    endpoint text GENERATED ALWAYS AS (
CASE channel
    WHEN 'email'::text THEN 'email'::text
    ELSE recipient
END) STORED NOT NULL,
    message jsonb NOT NULL,
    state public.delivery_state DEFAULT 'pending'::public.delivery_state NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT deliveries_channel_check CHECK ((channel = ANY (ARRAY['webhook'::text, 'email'::text])))
);

CREATE TABLE public.idempotency_keys (
    workspace_id uuid NOT NULL,
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    job_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    status smallint,
    headers jsonb,
    answer bytea,
    CONSTRAINT idempotency_keys_answered CHECK (((job_id IS NOT NULL) OR ((status IS NOT NULL) AND (headers IS NOT NULL) AND (answer IS NOT NULL)))),
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

CREATE TABLE public.inbox (
    consumer text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.job_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.job_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.job_parents (
    workspace_id uuid NOT NULL,
    child_id uuid NOT NULL,
    parent_id uuid NOT NULL
);

CREATE TABLE public.kind_starts (
    kind text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

CREATE TABLE public.kinds (
    kind text NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    params_schema jsonb NOT NULL,
    result_schema jsonb NOT NULL,
    pool text NOT NULL,
    needs_source boolean NOT NULL,
    attempts integer NOT NULL,
    backoff_seconds double precision NOT NULL,
    run_seconds double precision NOT NULL,
    start_seconds double precision NOT NULL,
    version integer NOT NULL,
    paused_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    total_seconds double precision,
    retry_codes text[] DEFAULT '{}'::text[] NOT NULL,
    no_retry_codes text[] DEFAULT '{}'::text[] NOT NULL,
    inputs text[] DEFAULT '{}'::text[] NOT NULL,
    starts_per_minute integer,
    cores integer DEFAULT 1 NOT NULL,
    memory_bytes bigint DEFAULT 0 NOT NULL,
    CONSTRAINT kinds_attempts_check CHECK ((attempts >= 1)),
    CONSTRAINT kinds_backoff_seconds_check CHECK ((backoff_seconds >= (0)::double precision)),
    CONSTRAINT kinds_cores_check CHECK ((cores >= 1)),
    CONSTRAINT kinds_kind_check CHECK ((kind ~ '^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$'::text)),
    CONSTRAINT kinds_memory_bytes_check CHECK ((memory_bytes >= 0)),
    CONSTRAINT kinds_pool_check CHECK ((pool ~ '^[a-z][a-z0-9]*$'::text)),
    CONSTRAINT kinds_run_seconds_check CHECK ((run_seconds > (0)::double precision)),
    CONSTRAINT kinds_start_seconds_check CHECK ((start_seconds > (0)::double precision)),
    CONSTRAINT kinds_starts_per_minute_check CHECK ((starts_per_minute >= 1)),
    CONSTRAINT kinds_total_seconds_check CHECK ((total_seconds > (0)::double precision)),
    CONSTRAINT kinds_version_check CHECK ((version >= 1))
);

CREATE TABLE public.members (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    notify_by_mail boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    role public.member_role DEFAULT 'viewer'::public.member_role NOT NULL,
    user_id uuid,
    CONSTRAINT members_email_check CHECK (((email ~ '^[^[:space:]@]+@[^[:space:]@]+$'::text) AND (length(email) <= 254)))
);

CREATE TABLE public.outbox (
    id bigint NOT NULL,
    service text DEFAULT CURRENT_USER NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    mandatory boolean NOT NULL,
    message jsonb NOT NULL,
    available_at timestamp with time zone DEFAULT now() NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    rings text
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.projects (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT projects_config_check CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT projects_description_check CHECK ((length(description) <= 10000)),
    CONSTRAINT projects_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE public.schedules (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    cloud_id uuid,
    priority smallint DEFAULT 0 NOT NULL,
    run_at timestamp with time zone,
    cron text,
    timezone text,
    overlap text NOT NULL,
    missed text NOT NULL,
    next_at timestamp with time zone,
    waiting_since timestamp with time zone,
    paused_at timestamp with time zone,
    last_planned_at timestamp with time zone,
    last_at timestamp with time zone,
    last_outcome text,
    last_job_id uuid,
    last_error jsonb,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT once_or_by_cron CHECK ((((run_at IS NULL) <> (cron IS NULL)) AND ((cron IS NULL) = (timezone IS NULL)))),
    CONSTRAINT paused_has_no_next CHECK (((paused_at IS NULL) OR (next_at IS NULL))),
    CONSTRAINT refused_has_an_error CHECK (((NOT (last_outcome IS DISTINCT FROM 'refused'::text)) = (last_error IS NOT NULL))),
    CONSTRAINT schedules_last_outcome_check CHECK ((last_outcome = ANY (ARRAY['ordered'::text, 'skipped'::text, 'missed'::text, 'refused'::text]))),
    CONSTRAINT schedules_missed_check CHECK ((missed = ANY (ARRAY['once'::text, 'skip'::text]))),
    CONSTRAINT schedules_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT schedules_overlap_check CHECK ((overlap = ANY (ARRAY['skip'::text, 'queue'::text, 'cancel'::text]))),
    CONSTRAINT schedules_params_check CHECK ((jsonb_typeof(params) = 'object'::text)),
    CONSTRAINT schedules_priority_check CHECK (((priority >= '-100'::integer) AND (priority <= 100)))
);

CREATE TABLE public.schema_migrations (
    version character varying NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.senders (
    user_id text NOT NULL,
    workspace_id uuid NOT NULL,
    kinds text[],
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.service_instances (
    instance text NOT NULL,
    service text NOT NULL,
    version text NOT NULL,
    accepts text[] NOT NULL,
    kinds text[] DEFAULT '{}'::text[] NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    cores integer,
    memory_bytes bigint
);

CREATE TABLE public.sessions (
    id_sha256 bytea NOT NULL,
    user_id uuid NOT NULL,
    looks_at uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT sessions_id_sha256_check CHECK ((length(id_sha256) = 32))
);

CREATE TABLE public.users (
    id uuid DEFAULT public.uuid7() NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    email text,
    name text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_email_check CHECK ((length(email) <= 254)),
    CONSTRAINT users_issuer_check CHECK ((length(issuer) <= 2000)),
    CONSTRAINT users_name_check CHECK ((length(name) <= 200)),
    CONSTRAINT users_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 255)))
);

CREATE TABLE public.webhooks (
    id uuid DEFAULT public.uuid7() NOT NULL,
    workspace_id uuid NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    disabled_at timestamp with time zone,
    disabled_reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT webhooks_url_check CHECK (((length(url) >= 1) AND (length(url) <= 2000)))
);

CREATE TABLE public.workspaces (
    id uuid DEFAULT public.uuid7() NOT NULL,
    name text NOT NULL,
    weight integer DEFAULT 1 NOT NULL,
    max_running integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    turn double precision DEFAULT 0 NOT NULL,
    turn_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    light_turn double precision DEFAULT 0 NOT NULL,
    light_turn_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT workspaces_max_running_check CHECK ((max_running >= 0)),
    CONSTRAINT workspaces_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT workspaces_weight_check CHECK (((weight >= 1) AND (weight <= 1000)))
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (job_id, attempt);

ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_source_object_key UNIQUE (source_object);

ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_workspace_id_id_key UNIQUE (workspace_id, id);

ALTER TABLE ONLY public.dead_letter_acts
    ADD CONSTRAINT dead_letter_acts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_fingerprint_key UNIQUE (fingerprint);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_event_id_channel_recipient_key UNIQUE (event_id, channel, recipient);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (workspace_id, principal, route, key);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, source, id);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_event_id_key UNIQUE (event_id);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_job_id_sequence_key UNIQUE (job_id, sequence);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.job_parents
    ADD CONSTRAINT job_parents_pkey PRIMARY KEY (child_id, parent_id);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_workspace_id_id_key UNIQUE (workspace_id, id);

ALTER TABLE ONLY public.kinds
    ADD CONSTRAINT kinds_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_workspace_id_email_key UNIQUE (workspace_id, email);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_job_id_name_key UNIQUE (job_id, name);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_object_key UNIQUE (object);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_workspace_id_id_key UNIQUE (workspace_id, id);

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.senders
    ADD CONSTRAINT senders_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.service_instances
    ADD CONSTRAINT service_instances_pkey PRIMARY KEY (instance);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id_sha256);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_issuer_subject_key UNIQUE (issuer, subject);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_name_key UNIQUE (name);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_of_a_workspace ON public.api_keys USING btree (workspace_id, created_at DESC);

CREATE INDEX clouds_by_name ON public.clouds USING btree (workspace_id, name, id);

CREATE INDEX clouds_by_properties ON public.clouds USING gin (properties jsonb_path_ops);

CREATE INDEX clouds_in_order ON public.clouds USING btree (workspace_id, created_at DESC, id DESC);

CREATE INDEX clouds_of_a_project ON public.clouds USING btree (workspace_id, project_id) WHERE (project_id IS NOT NULL);

CREATE INDEX dead_letter_acts_of_one ON public.dead_letter_acts USING btree (letter_id, id);

CREATE INDEX dead_letters_in_order ON public.dead_letters USING btree (first_seen_at DESC, id DESC);

CREATE INDEX dead_letters_to_replay ON public.dead_letters USING btree (owner, last_seen_at) WHERE (state = 'replay_asked'::public.dead_letter_state);

CREATE INDEX deliveries_in_order ON public.deliveries USING btree (workspace_id, created_at DESC, id DESC);

CREATE INDEX deliveries_to_send ON public.deliveries USING btree (endpoint, next_at) WHERE (state = 'pending'::public.delivery_state);

CREATE INDEX job_children ON public.job_parents USING btree (parent_id, child_id);

CREATE INDEX job_ends_in_order ON public.job_events USING btree (created_at) WHERE (type = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text]));

CREATE INDEX jobs_by_claim ON public.jobs USING btree (claim_token) WHERE (claim_token IS NOT NULL);

CREATE INDEX jobs_in_order ON public.jobs USING btree (workspace_id, created_at DESC, id DESC);

CREATE INDEX jobs_of_a_cloud ON public.jobs USING btree (workspace_id, cloud_id, created_at DESC) WHERE (cloud_id IS NOT NULL);

CREATE INDEX jobs_of_a_schedule ON public.jobs USING btree (workspace_id, schedule_id, created_at DESC, id DESC) WHERE (schedule_id IS NOT NULL);

CREATE UNIQUE INDEX jobs_one_of_a_key ON public.jobs USING btree (workspace_id, unique_key) WHERE ((unique_key IS NOT NULL) AND (state = ANY (ARRAY['waiting'::public.job_state, 'queued'::public.job_state, 'running'::public.job_state])));

CREATE INDEX jobs_retried ON public.jobs USING btree (workspace_id, retry_of) WHERE (retry_of IS NOT NULL);

CREATE INDEX jobs_running ON public.jobs USING btree (workspace_id, lease_until) WHERE (state = 'running'::public.job_state);

CREATE INDEX jobs_to_choose ON public.jobs USING btree (workspace_id, kind, priority DESC, available_at, id) WHERE (state = 'queued'::public.job_state);

CREATE INDEX jobs_to_end ON public.jobs USING btree (end_by) WHERE ((end_by IS NOT NULL) AND (ended_at IS NULL));

CREATE INDEX jobs_to_start ON public.jobs USING btree (start_by) WHERE (state = 'queued'::public.job_state);

CREATE INDEX jobs_waiting ON public.jobs USING btree (depth, id) WHERE (state = 'waiting'::public.job_state);

CREATE INDEX kind_starts_in_order ON public.kind_starts USING btree (kind, at);

CREATE INDEX live_events ON public.job_events USING btree (workspace_id, xid, id);

CREATE UNIQUE INDEX members_are_one_user ON public.members USING btree (workspace_id, user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX members_of_a_user ON public.members USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX members_to_come ON public.members USING btree (lower(email)) WHERE (user_id IS NULL);

CREATE INDEX outbox_to_relay ON public.outbox USING btree (service, available_at, id);

CREATE INDEX products_of_a_cloud ON public.products USING btree (workspace_id, cloud_id, name, created_at DESC);

CREATE INDEX projects_by_config ON public.projects USING gin (config jsonb_path_ops);

CREATE INDEX projects_in_order ON public.projects USING btree (workspace_id, created_at DESC, id DESC);

CREATE INDEX schedules_due ON public.schedules USING btree (next_at) WHERE (next_at IS NOT NULL);

CREATE INDEX schedules_in_order ON public.schedules USING btree (workspace_id, created_at DESC, id DESC);

CREATE INDEX schedules_of_a_cloud ON public.schedules USING btree (workspace_id, cloud_id) WHERE (cloud_id IS NOT NULL);

CREATE INDEX sessions_to_sweep ON public.sessions USING btree (expires_at);

CREATE INDEX webhooks_of_a_workspace ON public.webhooks USING btree (workspace_id, created_at DESC, id DESC);

CREATE TRIGGER jobs_begin_soundly BEFORE INSERT ON public.jobs FOR EACH ROW EXECUTE FUNCTION public.guard_new_job();

CREATE TRIGGER jobs_end AFTER UPDATE ON public.jobs FOR EACH ROW WHEN ((new.has_children AND (new.ended_at IS NOT NULL) AND (old.ended_at IS NULL))) EXECUTE FUNCTION public.remember_job_end();

CREATE TRIGGER jobs_move_legally BEFORE UPDATE ON public.jobs FOR EACH ROW EXECUTE FUNCTION public.guard_job_moves();

CREATE CONSTRAINT TRIGGER jobs_settle_their_children AFTER UPDATE ON public.jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.has_children AND (new.ended_at IS NOT NULL) AND (old.ended_at IS NULL))) EXECUTE FUNCTION public.settle_children();

CREATE TRIGGER jobs_take_a_sound_key BEFORE UPDATE OF unique_key ON public.jobs FOR EACH ROW EXECUTE FUNCTION public.guard_new_job();

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_workspace_id_project_id_fkey FOREIGN KEY (workspace_id, project_id) REFERENCES public.projects(workspace_id, id) ON DELETE SET NULL (project_id);

ALTER TABLE ONLY public.dead_letter_acts
    ADD CONSTRAINT dead_letter_acts_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES public.dead_letters(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_parents
    ADD CONSTRAINT job_parents_workspace_id_child_id_fkey FOREIGN KEY (workspace_id, child_id) REFERENCES public.jobs(workspace_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_parents
    ADD CONSTRAINT job_parents_workspace_id_parent_id_fkey FOREIGN KEY (workspace_id, parent_id) REFERENCES public.jobs(workspace_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_workspace_id_cloud_id_fkey FOREIGN KEY (workspace_id, cloud_id) REFERENCES public.clouds(workspace_id, id) ON DELETE SET NULL (cloud_id);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_workspace_id_retry_of_fkey FOREIGN KEY (workspace_id, retry_of) REFERENCES public.jobs(workspace_id, id) ON DELETE SET NULL (retry_of);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_workspace_id_cloud_id_fkey FOREIGN KEY (workspace_id, cloud_id) REFERENCES public.clouds(workspace_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_workspace_id_job_id_fkey FOREIGN KEY (workspace_id, job_id) REFERENCES public.jobs(workspace_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_workspace_id_cloud_id_fkey FOREIGN KEY (workspace_id, cloud_id) REFERENCES public.clouds(workspace_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.senders
    ADD CONSTRAINT senders_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_looks_at_fkey FOREIGN KEY (looks_at) REFERENCES public.workspaces(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE;

CREATE POLICY a_service_relays_its_own ON public.outbox TO gateway, processor, notifier USING ((service = CURRENT_USER));

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.clouds ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.dead_letters ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.deliveries ENABLE ROW LEVEL SECURITY;

CREATE POLICY gateway_sees_one_workspace ON public.api_keys TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.attempts FOR SELECT TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.clouds TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.deliveries FOR SELECT TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.idempotency_keys TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.job_events TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.job_parents TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.jobs TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.members TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.products TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.projects TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.schedules TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.webhooks TO gateway USING ((workspace_id = public.current_workspace()));

CREATE POLICY gateway_sees_one_workspace ON public.workspaces TO gateway USING ((id = public.current_workspace()));

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_parents ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.members ENABLE ROW LEVEL SECURITY;

CREATE POLICY notifier_sees_all ON public.clouds FOR SELECT TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.deliveries TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.job_events FOR SELECT TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.members FOR SELECT TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.products FOR SELECT TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.webhooks TO notifier USING (true);

CREATE POLICY notifier_sees_all ON public.workspaces FOR SELECT TO notifier USING (true);

CREATE POLICY notifier_sees_its_own ON public.dead_letters TO notifier USING ((owner = 'notifier'::text));

CREATE POLICY operators_see_all ON public.dead_letters TO gateway USING (true);

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY processor_sees_all ON public.attempts TO processor USING (true);

CREATE POLICY processor_sees_all ON public.clouds FOR SELECT TO processor USING (true);

CREATE POLICY processor_sees_all ON public.dead_letters TO processor USING (true);

CREATE POLICY processor_sees_all ON public.idempotency_keys TO processor USING (true);

CREATE POLICY processor_sees_all ON public.job_events TO processor USING (true);

CREATE POLICY processor_sees_all ON public.job_parents FOR SELECT TO processor USING (true);

CREATE POLICY processor_sees_all ON public.jobs TO processor USING (true);

CREATE POLICY processor_sees_all ON public.products TO processor USING (true);

CREATE POLICY processor_sees_all ON public.schedules TO processor USING (true);

CREATE POLICY processor_sees_all ON public.workspaces TO processor USING (true);

ALTER TABLE public.products ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.schedules ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.webhooks ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workspaces ENABLE ROW LEVEL SECURITY;
