-- Every statement the processor runs. Moves of a job are functions: sql/migrations.

-- name: take_outbox
-- The oldest messages that are due, held until this transaction ends.
select id, exchange, routing_key, mandatory, message, rings from outbox
where service = current_user and available_at <= now()
order by id limit $1 for update skip locked

-- name: delete_outbox
-- These are confirmed.
delete from outbox where id = any ($1::bigint[])

-- name: postpone_outbox
-- The broker refused this one: it backs off alone.
update outbox set tries = tries + 1, last_error = $2::text,
    available_at = now() + make_interval(secs => least(power(2, tries), 300))
where id = $1::bigint

-- name: claim_job
-- The next job for a free slot of so many cores and bytes of memory, if there is one.
select * from claim_job($1::text, $2::text[], $3::double precision, $4::uuid, $5::integer, $6::bigint)

-- name: claim_light_jobs
-- A batch of light jobs for a free slot; no row when there is none.
select * from claim_light_jobs($1::text, $2::text[], $3::double precision, $4::uuid, $5::integer)

-- name: finish_light_jobs
-- These light jobs are done: the ids of those that were ours to finish.
select * from finish_light_jobs($1::jsonb) as job

-- name: read_source
-- The file a job works on.
select source_object, source_name, source_bytes, source_crc32c from clouds
where id = $1::uuid and workspace_id = $2::uuid and state = 'stored'

-- name: read_inputs
-- The products of other jobs that a job takes, by the name it gives them; nulls where there is none.
select input.key as name, input.value ->> 'job' as job, input.value ->> 'product' as product,
    p.object, p.crc32c
from jsonb_each($2::jsonb) input
left join products p on p.workspace_id = $1::uuid
    and p.job_id = (input.value ->> 'job')::uuid and p.name = input.value ->> 'product'

-- name: beat
-- Extend the lease, store progress and when it was told, learn of a cancel and of the job's time in
-- all being over. No row: the lease is lost.
update jobs set lease_until = now() + make_interval(secs => $3::double precision),
    progress = coalesce($4::jsonb || jsonb_build_object('told_at', now()), progress)
where id = $1::uuid and attempt = $2::integer and state = 'running'
returning cancel_requested_at is not null as cancel_requested, coalesce(end_by < now(), false) as out_of_time

-- name: finish_job
-- The attempt has succeeded.
select finish_job($1::uuid, $2::integer, $3::jsonb, $4::jsonb, $5::text)

-- name: fail_job
-- The attempt has failed, or was stopped for a cancel.
select fail_job($1::uuid, $2::integer, $3::jsonb, $4::boolean, $5::text)::text

-- name: release_job
-- The worker leaves and gives the job back.
select release_job($1::uuid, $2::integer)

-- name: read_ending
-- What became of an attempt whose last COMMIT had no answer.
select state::text, attempt from jobs where id = $1::uuid

-- name: reap_lost_jobs
-- Retry or end the jobs whose lease is over.
select reap_lost_jobs($1::integer)

-- name: fail_overdue_jobs
-- End the jobs that were not started, or have not ended, in time.
select fail_overdue_jobs($1::integer)

-- name: settle_waiting_jobs
-- Release or fail the jobs that nothing keeps waiting.
select settle_waiting_jobs($1::integer)

-- name: forget_old_keys
-- An Idempotency-Key is kept for a day.
delete from idempotency_keys where created_at < now() - interval '24 hours'

-- name: forget_old_messages
-- A message that has not been repeated for a month will not be; reconciliation looks back a week.
delete from inbox where received_at < now() - interval '30 days'

-- name: unnamed_objects
-- Those of the given objects that no row names.
select key from unnest($1::text[]) as key
where not exists (select 1 from clouds where source_object = key)
  and not exists (select 1 from products where object = key)

-- name: register_kind
-- Say that this kind exists; a newer version's word stands.
insert into kinds (kind, title, description, params_schema, result_schema, pool, needs_source,
                   attempts, backoff_seconds, run_seconds, start_seconds, total_seconds,
                   retry_codes, no_retry_codes, cores, memory_bytes, version, inputs)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
on conflict (kind) do update set
    title = excluded.title, description = excluded.description, params_schema = excluded.params_schema,
    result_schema = excluded.result_schema, pool = excluded.pool, needs_source = excluded.needs_source,
    attempts = excluded.attempts, backoff_seconds = excluded.backoff_seconds,
    run_seconds = excluded.run_seconds, start_seconds = excluded.start_seconds,
    total_seconds = excluded.total_seconds, retry_codes = excluded.retry_codes,
    no_retry_codes = excluded.no_retry_codes, cores = excluded.cores, memory_bytes = excluded.memory_bytes,
    version = excluded.version, inputs = excluded.inputs, updated_at = now()
where kinds.version <= excluded.version

-- name: register_instance
-- This process is alive, and says what it knows and what a slot of it offers.
insert into service_instances (instance, service, version, accepts, kinds, cores, memory_bytes)
values ($1, current_user, $2, $3, $4, $5, $6)
on conflict (instance) do update set seen_at = now(), version = excluded.version,
    accepts = excluded.accepts, kinds = excluded.kinds, cores = excluded.cores,
    memory_bytes = excluded.memory_bytes

-- name: forget_instance
-- This process is leaving.
delete from service_instances where instance = $1

-- name: forget_silent_instances
-- Processes that were not seen for a day are gone.
delete from service_instances where seen_at < now() - interval '1 day'

-- name: read_sender
-- The workspace another service speaks for, and the kinds it may ask for.
select workspace_id, kinds from senders where user_id = $1

-- name: read_kind
-- A kind and the schema of its parameters.
select kind, params_schema, needs_source from kinds where kind = $1

-- name: find_cloud
-- Whether a cloud with a file is the workspace's own.
select id from clouds where id = $1::uuid and workspace_id = $2::uuid and state = 'stored'

-- name: accept_request
-- Make the job another service asked for; the same request gives the same job.
select * from create_job($1::uuid, $2::text, $3::jsonb, $4::uuid, $5::smallint, $6::text, $7::text, null, $8::uuid)

-- name: tell
-- A message for the relay.
insert into outbox (exchange, routing_key, mandatory, message) values ($1, $2, false, $3)

-- name: take_due_schedule
-- The schedule that has been due the longest, apart from these and from those that wait for the end of
-- their last job; held until this transaction ends, and skipped by every other scheduler.
select s.id, s.workspace_id, s.cron, s.timezone, s.next_at, now() as now from schedules s
where s.next_at <= now() and s.id <> all ($1::uuid[])
  and (s.waiting_since is null or not exists (
        select from jobs j where j.id = s.last_job_id and j.state in ('waiting', 'queued', 'running')))
order by s.next_at limit 1 for update of s skip locked

-- name: run_schedule
-- The planned time has come: order the job, or do what the schedule says of this case.
select run_schedule($1::uuid, $2::timestamptz, $3::uuid, $4::timestamptz)

-- name: refuse_schedule
-- No job can be made of it: pause it and say why.
select refuse_schedule($1::uuid, $2::timestamptz, $3::jsonb)

-- name: keep_dead_letter
-- Keep a message that died; true when it was not known.
select keep_dead_letter($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)

-- name: forget_dead_letters
-- What was replayed or discarded is kept for ninety days after it was last seen.
delete from dead_letters where state in ('replayed', 'discarded') and last_seen_at < now() - interval '90 days'

-- name: take_replay
-- The dead letter that has waited longest for this service's handler, held until the transaction ends.
select id, routing_key, sender, coalesce(mended, body) as body, mended is null and body_bytes > length(body) as cut
from dead_letters
where owner = current_user and state = 'replay_asked'
order by last_seen_at, id limit 1 for update skip locked

-- name: end_replay
-- The handler has dealt with it ('replayed') or refused it again ('refused').
select id from move_dead_letter($1, $2, 'service:' || current_user, $3)
