-- Every statement the gateway runs. Tenant tables are seen through one workspace: inside a
-- transaction that has entered it, or by a function that enters it.

-- name: find_api_key
-- Who the key of this id speaks for and what it may do, while it is in force.
select workspace_id, secret_sha256, previous_sha256, role, operator from find_api_key($1)

-- name: note_key_uses
-- These keys were used.
select note_key_uses($1)

-- name: sign_in
-- Somebody whom the OpenID provider vouches for: the user and the workspaces they belong to.
select * from sign_in($1, $2, $3, $4)

-- name: open_session
-- A browser's session begins.
select open_session($1, $2, $3, $4)

-- name: find_session
-- Whose session it is, while it lasts, and the workspaces they belong to.
select * from find_session($1)

-- name: choose_workspace
-- The session looks at another workspace; whether it may.
select choose_workspace($1, $2)

-- name: close_session
-- A session ends.
select close_session($1)

-- name: read_workspace_name
-- The name of the workspace that this transaction has entered.
select name from workspaces where id = current_workspace()

-- name: create_api_key
-- A new key, unless the workspace has as many as it may or the id is taken.
insert into api_keys (id, workspace_id, name, secret_sha256, role, operator, expires_at, created_by)
select $1, $2, $3, $4, $5, $6, $7, $8
where (select count(*) from api_keys where revoked_at is null) < $9
on conflict (id) do nothing
returning id, name, role, operator, created_at, created_by, expires_at, revoked_at, last_used_at, previous_until

-- name: list_api_keys
-- The keys, newest first; those that were revoked for another 90 days.
select id, name, role, operator, created_at, created_by, expires_at, revoked_at, last_used_at, previous_until
from api_keys
where revoked_at is null or revoked_at > now() - interval '90 days'
order by revoked_at is not null, created_at desc, id desc
limit $1

-- name: read_api_key
-- One key.
select id, name, role, operator, created_at, created_by, expires_at, revoked_at, last_used_at, previous_until
from api_keys where id = $1

-- name: rotate_api_key
-- Another secret for a key in force; the one it had opens for so many seconds more. Whether it was done.
select rotate_api_key($1, $2, $3)

-- name: revoke_api_key
-- End a key for good.
update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning id

-- name: create_member
-- A new member; no row when the address is a member's.
insert into members (workspace_id, name, email, role, notify_by_mail) values ($1, $2, $3, $4, $5)
on conflict (workspace_id, email) do nothing
returning *

-- name: list_members
-- Members, newest first, after the cursor.
select * from members
where $1::timestamptz is null or (created_at, id) < ($1, $2::uuid)
order by created_at desc, id desc
limit $3

-- name: read_member
-- One member.
select * from members where id = $1

-- name: lock_admins
-- All admins, so that nobody else removes one meanwhile.
select id from members where role = 'admin' order by id for update

-- name: change_member
-- Change what is given (null: leave).
update members
set name = coalesce($2, name), role = coalesce($3, role), notify_by_mail = coalesce($4, notify_by_mail)
where id = $1
returning *

-- name: delete_member
-- Forget a member.
delete from members where id = $1 returning id

-- name: create_project
-- A new project; no row when the name is taken.
insert into projects (workspace_id, name, description, config)
values ($1, $2, $3, $4)
on conflict (workspace_id, name) do nothing
returning *

-- name: read_project
-- One project.
select * from projects where id = $1

-- name: find_project
-- The project of this name.
select * from projects where name = $1

-- name: list_projects
-- Projects, newest first, after the cursor; of one name and with what `config` contains where given.
select * from projects
where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
  and ($4::text is null or name = $4)
  and ($5::jsonb is null or id in (select projects_that_contain($5)))
order by created_at desc, id desc
limit $3

-- name: list_projects_oldest_first
-- Projects, oldest first, after the cursor; of one name and with what `config` contains where given.
select * from projects
where ($1::timestamptz is null or (created_at, id) > ($1, $2::uuid))
  and ($4::text is null or name = $4)
  and ($5::jsonb is null or id in (select projects_that_contain($5)))
order by created_at, id
limit $3

-- name: list_projects_by_name
-- Projects, by name, after the cursor; of one name and with what `config` contains where given.
select * from projects
where ($1::text is null or (name, id) > ($1, $2::uuid))
  and ($4::text is null or name = $4)
  and ($5::jsonb is null or id in (select projects_that_contain($5)))
order by name, id
limit $3

-- name: list_projects_by_name_backwards
-- Projects, by name backwards, after the cursor; of one name and with what `config` contains where given.
select * from projects
where ($1::text is null or (name, id) < ($1, $2::uuid))
  and ($4::text is null or name = $4)
  and ($5::jsonb is null or id in (select projects_that_contain($5)))
order by name desc, id desc
limit $3

-- name: lock_project
-- One project that is about to be changed.
select * from projects where id = $1 for update

-- name: change_project
-- Change a project that is locked.
update projects
set name = $2, description = $3, config = $4, version = version + 1, updated_at = now()
where id = $1
returning *

-- name: delete_project
-- Delete a project that holds no cloud: whether it was there, and whether it was empty.
with found as (select id from projects where id = $1 for update),
     held as (select 1 from clouds where project_id = $1 limit 1),
     gone as (
        delete from projects where id in (select id from found) and not exists (select from held)
        returning id)
select exists (select from found) as found, exists (select from gone) as deleted

-- name: new_id
-- An identifier for a row and an object that are made before they are stored.
select uuid7()

-- name: create_cloud
-- A new cloud without a file.
insert into clouds (id, workspace_id, project_id, name, description, properties)
values ($1, $2, $3, $4, $5, $6)

-- name: read_cloud
-- One cloud.
select * from read_cloud($1, $2)

-- name: list_clouds
-- Clouds, newest first, after the cursor; of one project, state, name, and with what `properties` contain where given.
select * from cloud_details
where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
  and ($4::uuid is null or project_id = $4)
  and ($5::cloud_state is null or state = $5)
  and ($6::text is null or name = $6)
  and ($7::jsonb is null or id in (select clouds_that_contain($7)))
order by created_at desc, id desc
limit $3

-- name: list_clouds_oldest_first
-- Clouds, oldest first, after the cursor; of one project, state, name, and with what `properties` contain where given.
select * from cloud_details
where ($1::timestamptz is null or (created_at, id) > ($1, $2::uuid))
  and ($4::uuid is null or project_id = $4)
  and ($5::cloud_state is null or state = $5)
  and ($6::text is null or name = $6)
  and ($7::jsonb is null or id in (select clouds_that_contain($7)))
order by created_at, id
limit $3

-- name: list_clouds_by_name
-- Clouds, by name, after the cursor; of one project, state, name, and with what `properties` contain where given.
select * from cloud_details
where ($1::text is null or (name, id) > ($1, $2::uuid))
  and ($4::uuid is null or project_id = $4)
  and ($5::cloud_state is null or state = $5)
  and ($6::text is null or name = $6)
  and ($7::jsonb is null or id in (select clouds_that_contain($7)))
order by name, id
limit $3

-- name: list_clouds_by_name_backwards
-- Clouds, by name backwards, after the cursor; of one project, state, name, and with what `properties` contain where given.
select * from cloud_details
where ($1::text is null or (name, id) < ($1, $2::uuid))
  and ($4::uuid is null or project_id = $4)
  and ($5::cloud_state is null or state = $5)
  and ($6::text is null or name = $6)
  and ($7::jsonb is null or id in (select clouds_that_contain($7)))
order by name desc, id desc
limit $3

-- name: lock_cloud
-- One cloud that is about to be changed.
select * from clouds where id = $1 for update

-- name: change_cloud
-- Change a cloud that is locked.
update clouds
set name = $2, description = $3, properties = $4, project_id = $5, version = version + 1, updated_at = now()
where id = $1

-- name: delete_cloud
-- Forget a cloud and cancel what works on it; whether it was there.
select delete_cloud($1, $2)

-- name: finish_upload
-- The file is stored: take it as the cloud's source and order the mill. No row: not an empty cloud.
select * from finish_upload($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: list_kinds
-- The kinds of jobs that processors have announced.
select * from kinds order by kind

-- name: read_kind
-- One kind.
select * from kinds where kind = $1

-- name: lock_kind
-- One kind that is about to be changed.
select * from kinds where kind = $1 for update

-- name: change_kind
-- Pause ($2: true) or resume a kind (null: leave), and where $3 says so limit its starts (null: no limit).
update kinds
set paused_at = case when $2::boolean is null then paused_at when $2 then coalesce(paused_at, now()) end,
    starts_per_minute = case when $3::boolean then $4::integer else starts_per_minute end
where kind = $1
returning *

-- name: list_workspaces
-- Every workspace, newest first, after the cursor; for operators.
select * from list_workspaces($1, $2, $3)

-- name: read_workspace
-- One workspace, locked where it is about to be changed; for operators.
select * from read_workspace($1, $2)

-- name: change_workspace
-- Set the weight and cap of a workspace; for operators. No row: unknown.
select * from change_workspace($1, $2, $3, $4)

-- name: list_instances
-- The running processes of all services, as each has last said of itself.
select * from service_instances order by service, started_at, instance

-- name: create_job
-- Accept a job.
select * from create_job($1, $2, $3, $4, $5, $6, $7)

-- name: create_unique_job
-- Accept a job unless one with the same unique key has not ended, which is given back then.
select (job).*, made from create_unique_job($1, $2, $3, $4, $5, $6, $7, $8, $9, null, null, null)

-- name: take_idempotency_key
-- Hold a key until the transaction ends, and what was answered under it.
select * from take_idempotency_key($1, $2, $3, $4)

-- name: keep_answer
-- What was answered under a key.
insert into idempotency_keys (workspace_id, principal, route, key, fingerprint, status, headers, answer)
values ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: find_parents
-- The jobs that a new one is to wait for, and how deep they lie; one that is missing is not ours.
select id, depth from jobs where id = any ($1::uuid[])

-- name: create_child_job
-- Accept a job that waits for others.
select * from create_child_job($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: read_families
-- Whom these jobs waited for, wait for still, and who waits for them.
select * from read_families($1, $2)

-- name: read_job
-- One job; by `read_at` a reader tells how old its progress is.
select *, now() as read_at from read_job($1, $2)

-- name: list_jobs
-- Jobs, newest first, after the cursor; of one state, kind and cloud where given.
select *, now() as read_at from jobs
where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
  and ($4::job_state is null or state = $4)
  and ($5::text is null or kind = $5)
  and ($6::uuid is null or cloud_id = $6)
order by created_at desc, id desc
limit $3

-- name: list_jobs_oldest_first
-- Jobs, oldest first, after the cursor; of one state, kind and cloud where given.
select *, now() as read_at from jobs
where ($1::timestamptz is null or (created_at, id) > ($1, $2::uuid))
  and ($4::job_state is null or state = $4)
  and ($5::text is null or kind = $5)
  and ($6::uuid is null or cloud_id = $6)
order by created_at, id
limit $3

-- name: cancel_job
-- Cancel a job, or ask its worker to. No row: unknown.
select * from cancel_job($1, $2)

-- name: retry_job
-- A new job in the place of one that failed or was cancelled. No row: unknown, or not so.
select * from retry_job($1, $2, $3, $4)

-- name: cancel_jobs
-- Cancel a batch of the jobs that a filter means.
select * from cancel_jobs($1, $2, $3)

-- name: retry_jobs
-- New jobs in the place of a batch of those that a filter means.
select * from retry_jobs($1, $2, $3, $4, $5)

-- name: read_job_events
-- What has happened to a job after the event of this sequence.
select sequence, type, message, created_at from read_job_events($1, $2, $3)

-- name: read_live_events
-- What has happened in a workspace after a place; up to the first that is not settled it is complete.
select * from read_live_events($1, $2::text::xid8, $3, $4)

-- name: read_live_place
-- The oldest transaction that still runs: everything of those before it can be read.
select pg_snapshot_xmin(pg_current_snapshot())::text

-- name: read_cloud_products
-- The latest product of each name of a cloud.
select * from read_cloud_products($1, $2)

-- name: read_job_products
-- The products of a job.
select * from read_job_products($1, $2)

-- name: create_webhook
-- A new receiver of signed deliveries.
insert into webhooks (workspace_id, url, secret) values ($1, $2, $3) returning id, url, created_at

-- name: list_webhooks
-- Webhooks, newest first, after the cursor.
select id, url, disabled_at, disabled_reason, created_at from webhooks
where $1::timestamptz is null or (created_at, id) < ($1, $2::uuid)
order by created_at desc, id desc
limit $3

-- name: read_webhook
-- One webhook, without its secret.
select id, url, disabled_at, disabled_reason, created_at from webhooks where id = $1

-- name: delete_webhook
-- Forget a webhook.
delete from webhooks where id = $1 returning id

-- name: read_time
-- What time it is: schedules go by the database's clock.
select now()

-- name: create_schedule
-- A new schedule; no row when the name is taken.
insert into schedules (workspace_id, name, kind, params, cloud_id, priority, run_at, cron, timezone,
                       overlap, missed, next_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict (workspace_id, name) do nothing
returning *

-- name: list_schedules
-- Schedules, newest first, after the cursor; of one kind where given.
select * from schedules
where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
  and ($4::text is null or kind = $4)
order by created_at desc, id desc
limit $3

-- name: list_schedules_oldest_first
-- Schedules, oldest first, after the cursor; of one kind where given.
select * from schedules
where ($1::timestamptz is null or (created_at, id) > ($1, $2::uuid))
  and ($4::text is null or kind = $4)
order by created_at, id
limit $3

-- name: list_schedules_by_name
-- Schedules, by name, after the cursor; of one kind where given.
select * from schedules
where ($1::text is null or (name, id) > ($1, $2::uuid))
  and ($4::text is null or kind = $4)
order by name, id
limit $3

-- name: list_schedules_by_name_backwards
-- Schedules, by name backwards, after the cursor; of one kind where given.
select * from schedules
where ($1::text is null or (name, id) < ($1, $2::uuid))
  and ($4::text is null or kind = $4)
order by name desc, id desc
limit $3

-- name: read_schedule
-- One schedule, and what time it is.
select *, now() as now from schedules where id = $1

-- name: lock_schedule
-- One schedule that is about to be changed, and what time it is.
select *, now() as now from schedules where id = $1 for update

-- name: change_schedule
-- Change a schedule that is locked.
update schedules
set name = $2, params = $3, priority = $4, overlap = $5, missed = $6,
    run_at = $7, cron = $8, timezone = $9, next_at = $10,
    waiting_since = case when next_at is not distinct from $10 then waiting_since end,
    version = version + 1, updated_at = now()
where id = $1
returning *

-- name: pause_schedule
-- Nothing comes until it is resumed.
update schedules
set paused_at = now(), next_at = null, waiting_since = null, version = version + 1, updated_at = now()
where id = $1
returning *

-- name: resume_schedule
-- It goes on, at this time.
update schedules
set paused_at = null, next_at = $2, version = version + 1, updated_at = now()
where id = $1
returning *

-- name: list_schedule_jobs
-- The jobs that a schedule has ordered, newest first, after the cursor.
select *, now() as read_at from jobs
where workspace_id = $1 and schedule_id = $2 and ($3::timestamptz is null or (created_at, id) < ($3, $4::uuid))
order by created_at desc, id desc
limit $5

-- name: delete_schedule
-- Forget a schedule; its jobs stay.
delete from schedules where id = $1 returning id

-- name: take_outbox
-- What this service has to tell and may tell now; another relay of ours skips what this one holds.
select id, exchange, routing_key, mandatory, message, rings from outbox
where service = current_user and available_at <= now()
order by id
limit $1
for update skip locked

-- name: delete_outbox
-- The broker has these.
delete from outbox where id = any ($1::bigint[])

-- name: postpone_outbox
-- The broker refused this one: later, and ever later.
update outbox
set tries = tries + 1, last_error = $2,
    available_at = now() + make_interval(secs => least(300, 5 * power(2, least(tries, 6))))
where id = $1

-- name: list_dead_letters
-- Dead letters, newest first, after the cursor; in one state, of one queue, reason and sender where given.
select *, first_seen_at as created_at from dead_letters
where ($1::timestamptz is null or (first_seen_at, id) < ($1, $2::uuid))
  and ($4::dead_letter_state is null or state = $4)
  and ($5::text is null or queue = $5)
  and ($6::text is null or reason = $6)
  and ($7::text is null or sender = $7)
order by first_seen_at desc, id desc
limit $3

-- name: read_dead_letter
-- One dead letter.
select * from dead_letters where id = $1

-- name: list_dead_letter_acts
-- What was done to a dead letter, the oldest first; at most the last hundred.
select * from (select * from dead_letter_acts where letter_id = $1 order by id desc limit 100) last order by id

-- name: move_dead_letter
-- Mend, discard, or ask to replay. No row: unknown, or not open.
select * from move_dead_letter($1, $2, $3, $4, $5)

-- name: register_instance
-- This process is alive, and says which messages it accepts.
insert into service_instances (instance, service, version, accepts) values ($1, current_user, $2, $3)
on conflict (instance) do update set seen_at = now(), version = excluded.version, accepts = excluded.accepts

-- name: forget_instance
-- This process is leaving.
delete from service_instances where instance = $1
