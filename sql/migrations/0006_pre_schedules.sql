-- Jobs that order themselves: once at a time, or again and again by a cron line. And jobs of which a
-- workspace has only one at a time.

create table schedules (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    name text not null check (length(name) between 1 and 200),
    kind text not null,
    params jsonb not null default '{}' check (jsonb_typeof(params) = 'object'),
    cloud_id uuid,
    priority smallint not null default 0 check (priority between -100 and 100),
    run_at timestamptz,         -- once, or
    cron text,                  -- again and again,
    timezone text,              -- read in this zone
    overlap text not null check (overlap in ('skip', 'queue', 'cancel')),  -- when the job before has not ended
    missed text not null check (missed in ('once', 'skip')),  -- when nobody was there at the time
    next_at timestamptz,        -- null: nothing comes (paused, or a single time that is over)
    waiting_since timestamptz,  -- the time has come and the job before has not ended
    paused_at timestamptz,
    last_planned_at timestamptz,
    last_at timestamptz,
    last_outcome text check (last_outcome in ('ordered', 'skipped', 'missed', 'refused')),
    last_job_id uuid,           -- the only one that may not have ended: the next waits for it
    last_error jsonb,
    version integer not null default 1,  -- counts changes by people, not runs
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, name),
    foreign key (workspace_id, cloud_id) references clouds (workspace_id, id) on delete cascade,
    constraint once_or_by_cron check ((run_at is null) <> (cron is null) and (cron is null) = (timezone is null)),
    constraint paused_has_no_next check (paused_at is null or next_at is null),
    constraint refused_has_an_error check ((last_outcome is not distinct from 'refused') = (last_error is not null))
);
create index schedules_due on schedules (next_at) where next_at is not null;
create index schedules_in_order on schedules (workspace_id, created_at desc, id desc);
create index schedules_of_a_cloud on schedules (workspace_id, cloud_id) where cloud_id is not null;

alter table schedules enable row level security;
create policy gateway_sees_one_workspace on schedules for all to gateway using (workspace_id = current_workspace());
create policy processor_sees_all on schedules for all to processor using (true);

-- No foreign key: a job remembers what ordered it, even when that is gone.
alter table jobs add column schedule_id uuid;
alter table jobs add column unique_key text check (length(unique_key) between 1 and 255);

-- The planned time of a schedule has come. Its row is locked by the caller, who found it due and has
-- worked out the time after this one; `p_job` is derived from schedule and planned time, so that one
-- time never makes two jobs. What became of it: `ordered`, `skipped` (the job before has not ended),
-- `missed` (nobody was there at the time, and late is not wanted), `waiting` (it stays due until the
-- job before has ended); null: it was not due any more.
create function run_schedule(p_id uuid, p_planned timestamptz, p_job uuid, p_next timestamptz) returns text
language plpgsql as $$
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

-- The planned time has come and no job can be made of it: it is paused, and says why.
create function refuse_schedule(p_id uuid, p_planned timestamptz, p_error jsonb) returns void language sql as $$
    update schedules
    set last_planned_at = next_at, last_at = now(), last_outcome = 'refused', last_error = p_error,
        paused_at = now(), next_at = null, waiting_since = null
    where id = p_id and next_at = p_planned
$$;

-- Accept a job of which the workspace has only one at a time: while another with the same key has not
-- ended, it is that one (`made` is false). An Idempotency-Key remembers the answer; with `p_refuse` only
-- that of a new job, as the caller answers the other by a refusal. No row: the Idempotency-Key stands
-- for another order.
create function create_unique_job(
    p_workspace uuid, p_kind text, p_params jsonb, p_cloud uuid, p_priority smallint, p_requested_by text,
    p_traceparent text, p_unique_key text, p_refuse boolean,
    p_route text default null, p_key text default null, p_fingerprint bytea default null)
returns table (job jobs, made boolean) language plpgsql as $$
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
