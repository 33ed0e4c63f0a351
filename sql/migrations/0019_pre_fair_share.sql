-- Whose job is next: turns by weight, starts a minute, and what a kind needs of a slot.

-- `turn` is where a workspace stands in the line: each claimed job moves it on by 1 / weight, and who
-- comes back after a pause stands where the line is now. Light jobs have slots and so a line of their
-- own. Changed by every claim, so rows have room.
alter table workspaces
    add column turn double precision not null default 0,
    add column turn_at timestamptz not null default '-infinity',
    add column light_turn double precision not null default 0,
    add column light_turn_at timestamptz not null default '-infinity';
alter table workspaces set (fillfactor = 50);

alter table kinds
    add column starts_per_minute integer check (starts_per_minute >= 1),  -- of the whole system; null: no limit
    add column cores integer not null default 1 check (cores >= 1),
    add column memory_bytes bigint not null default 0 check (memory_bytes >= 0);

-- What a slot of this process offers; null: anything.
alter table service_instances
    add column cores integer,
    add column memory_bytes bigint;

-- The starts of the last minute, of kinds whose starts are limited.
create table kind_starts (
    kind text not null,
    at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index kind_starts_in_order on kind_starts (kind, at);

-- How many more jobs of the kind may be started in this minute; null: any number.
create function starts_left(p_kind text, p_most integer) returns integer language sql volatile as $$
    select p_most - (select count(*)::integer from kind_starts
                     where kind = p_kind and at > clock_timestamp() - interval '1 minute')
    where p_most is not null
$$;

-- The best job of a workspace among these kinds: priority, then age. No row: none is due.
create function best_job(p_workspace uuid, p_kinds text[])
returns table (kind text, priority smallint, available_at timestamptz, id uuid) language sql stable as $$
    select head.kind, head.priority, head.available_at, head.id
    from unnest(p_kinds) as wanted(kind)
    cross join lateral (
        select j.kind, j.priority, j.available_at, j.id from jobs j
        where j.state = 'queued' and j.workspace_id = p_workspace and j.kind = wanted.kind
          and j.available_at <= now()
        order by j.priority desc, j.available_at, j.id limit 1) head
    order by head.priority desc, head.available_at, head.id limit 1
$$;

-- Of these kinds those that may be started now and that fit into the slot. A kind that nobody has
-- registered yet may.
create function open_kinds(p_kinds text[], p_cores integer, p_memory bigint) returns text[]
language sql volatile as $$
    select coalesce(array_agg(wanted.kind), '{}')
    from unnest(p_kinds) as wanted(kind)
    left join kinds k on k.kind = wanted.kind
    where k.kind is null
       or (k.paused_at is null
           and k.cores <= coalesce(p_cores, k.cores)
           and k.memory_bytes <= coalesce(p_memory, k.memory_bytes)
           and coalesce(starts_left(k.kind, k.starts_per_minute) > 0, true))
$$;

-- The workspaces that have a job for these kinds, in the order in which they are next: those with the
-- fewest of them running for their weight (in units of the lightest one's share), among equals by their
-- turn, then by the age of their best job. `line` is where the line stands now.
create function workspaces_in_line(p_kinds text[], p_light boolean)
returns table (id uuid, line double precision) language sql volatile as $$
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

-- Choose and lock the next jobs, at most so many, all of one workspace and kind, and move the workspace
-- on in its line. What the line says is checked again under the locks: the workspace's cap, its jobs,
-- the kind's starts. Only for the first workspace are locks waited for, while nothing is held; further
-- ones that others hold are passed over, so that no two claims can wait for each other. Null: nothing
-- is eligible now.
create function choose_jobs(p_kinds text[], p_limit integer, p_light boolean) returns uuid[]
language plpgsql as $$
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

-- Claim the next job for a free slot that offers so many cores and bytes of memory (null: any). A
-- repeated token gives back the job it has claimed already (the answer to a COMMIT can be lost). No
-- row: nothing is eligible for these kinds now.
drop function claim_job(text, text[], double precision, uuid);
create function claim_job(
    p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid,
    p_cores integer default null, p_memory bigint default null)
returns setof jobs language plpgsql as $$
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

-- Claim a batch for a slot of light jobs, of one workspace and kind. That they have started is recorded
-- and not published: they have ended before anybody could act on it.
create or replace function claim_light_jobs(
    p_instance text, p_kinds text[], p_lease_seconds double precision, p_token uuid, p_limit integer)
returns setof jobs language plpgsql as $$
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

-- Why nobody has started a job in time: no running processor knows its kind, none has a slot that is
-- large enough, the kind may not start, or no slot was free.
create function why_not_started(p_job jobs) returns jsonb language plpgsql stable as $$
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

-- As in 0010; why a job was not started is told by the function above.
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
        v_error := why_not_started(v_job);
        update jobs set state = 'failed', error = v_error, ended_at = now(), sequence = sequence + 1
        where id = v_job.id returning * into v_job;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
