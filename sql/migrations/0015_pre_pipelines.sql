-- Pipelines: a job may wait for others, its parents, and take products of theirs as inputs.
--
-- How many parents a job still waits for is not counted anywhere: it is looked up, under the lock on
-- the waiting job, each time one of them ends. So nothing can drift, and the trigger, the making of a
-- job and the sweep decide by the same function, settle_child.
--
-- Whoever locks several jobs here does so by (depth, id). A job is deeper than its parents, so that
-- this is one order for all, and no two of them wait for each other.

alter table jobs
    add column depth smallint not null default 0 check (depth between 0 and 100),  -- the longest way up to a job without parents
    add column has_children boolean not null default false,  -- so that the end of any other job costs nothing more
    add column inputs jsonb not null default '{}' check (jsonb_typeof(inputs) = 'object');  -- name -> {job, product}

alter table kinds add column inputs text[] not null default '{}';  -- the names of inputs it takes; '*': any name

create table job_parents (
    workspace_id uuid not null,
    child_id uuid not null,
    parent_id uuid not null,
    primary key (child_id, parent_id),
    foreign key (workspace_id, child_id) references jobs (workspace_id, id) on delete cascade,
    foreign key (workspace_id, parent_id) references jobs (workspace_id, id) on delete cascade
);
create index job_children on job_parents (parent_id, child_id);

alter table job_parents enable row level security;
create policy gateway_sees_one_workspace on job_parents for all to gateway using (workspace_id = current_workspace());
create policy processor_sees_all on job_parents for select to processor using (true);

-- Decide about a job that waits: failed when a parent has failed or was cancelled, queued when all have
-- succeeded. Its limits of time count from now. Null: it goes on waiting, or does not wait any more.
create function settle_child(p_child uuid) returns job_state language plpgsql as $$
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

-- Accept a job that waits for others: those in `p_after` and those its inputs name. Parents exist
-- before their children, so there are no cycles. It may be settled already when this returns.
-- The same id again gives the job that is there. The parents are locked: none ends unseen meanwhile.
create function create_child_job(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text, p_after uuid[], p_inputs jsonb default '{}', p_retry_of uuid default null,
    p_id uuid default null)
returns jobs language plpgsql as $$
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

-- The same under an Idempotency-Key, as create_job_once.
create function create_child_job_once(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text, p_after uuid[], p_inputs jsonb, p_route text, p_key text, p_fingerprint bytea)
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

-- A job with children has ended: remembered until the transaction commits. One transaction may end
-- many jobs, in any order; only at its end is known which children have to be locked, and so in which order.
create function remember_job_end() returns trigger language plpgsql as $$
begin
    perform set_config('app.ended_jobs',
                       concat_ws(',', nullif(current_setting('app.ended_jobs', true), ''), new.id), true);
    return null;
end
$$;
create trigger jobs_end after update on jobs for each row
    when (new.has_children and new.ended_at is not null and old.ended_at is null)
    execute function remember_job_end();

-- Settle the children of all jobs that this transaction has ended, and of the children that fail by
-- that, all the way down. A thousand at most, so that a commit stays short: the sweep does the rest.
create function settle_children() returns trigger language plpgsql as $$
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
create constraint trigger jobs_settle_their_children after update on jobs deferrable initially deferred for each row
    when (new.has_children and new.ended_at is not null and old.ended_at is null)
    execute function settle_children();

-- Jobs that wait although nothing keeps them waiting: what a change by hand left, or an end with more
-- than a thousand descendants. Several reapers may run at once. Returns how many it settled.
create function settle_waiting_jobs(p_limit integer) returns integer language plpgsql as $$
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

-- The job that stands for this one now: its newest retry, or that one's, and so on; itself if it has none.
create function newest_retry(p_job uuid) returns uuid language sql stable as $$
    with recursive retries as (
        select id, workspace_id, 0 as step from jobs where id = p_job
        union all
        select j.id, j.workspace_id, r.step + 1
        from retries r join jobs j on j.workspace_id = r.workspace_id and j.retry_of = r.id)
    select r.id from retries r join jobs j on j.id = r.id order by j.created_at desc, r.step desc limit 1
$$;

-- A retry asked for by a person is a new job that names the old one. One that waited for others waits
-- for the newest retry of each that did not succeed. No row when the job is unknown or has not ended
-- in `failed` or `cancelled`.
create or replace function retry_job(p_workspace uuid, p_id uuid, p_requested_by text, p_traceparent text)
returns setof jobs language plpgsql as $$
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

-- Whom jobs waited for, wait for still, and who waits for them (the first hundred), for readers.
create function read_families(p_workspace uuid, p_jobs uuid[])
returns table (job_id uuid, after uuid[], waiting_for uuid[], children uuid[]) language plpgsql as $$
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
