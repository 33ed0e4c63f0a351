-- Who may touch what. Applied after every migration; what is not granted here is not allowed.
-- Each service has one role of its own name; the owner of everything is the role that migrates.

revoke all on schema public from public;
revoke all on all tables in schema public from public, gateway, processor, notifier;
revoke all on all functions in schema public from public;
grant usage on schema public to gateway, processor, notifier;

-- Everyone: identifiers, the schema's version, the outbox's own rows, its own heartbeat row.
grant execute on function uuid7(), current_workspace(), enter_workspace(uuid) to gateway, processor, notifier;
grant select on schema_migrations to gateway, processor, notifier;
grant select, insert, update, delete on outbox to gateway, processor, notifier;
grant select, insert, update, delete on service_instances to gateway, processor, notifier;
grant select on kinds to gateway, processor, notifier;

-- gateway
grant execute on function find_api_key(text), note_key_uses(text[]), rotate_api_key(text, bytea, integer) to gateway;
grant select (id, workspace_id, name, role, operator, created_at, created_by, expires_at, revoked_at, last_used_at,
              previous_until), insert, update (revoked_at)
    on api_keys to gateway;
grant execute on function sign_in(text, text, text, text), open_session(bytea, uuid, uuid, double precision),
    find_session(bytea), choose_workspace(bytea, uuid), close_session(bytea) to gateway;
grant execute on function job_message(jobs, uuid, text, jsonb), tell_job(jobs, text, jsonb), ring_for(jobs)
    to gateway, processor;
grant execute on function create_job(uuid, text, jsonb, uuid, smallint, text, text, uuid, uuid) to gateway, processor;
grant execute on function create_job_once(uuid, text, jsonb, uuid, smallint, text, text, text, text, bytea) to gateway;
grant execute on function finish_upload(uuid, uuid, text, text, bigint, text, jsonb, text, text) to gateway;
grant execute on function cancel_job(uuid, uuid), retry_job(uuid, uuid, text, text), delete_cloud(uuid, uuid) to gateway;
grant execute on function read_cloud(uuid, uuid), read_job(uuid, uuid), read_job_events(uuid, uuid, integer),
    read_cloud_products(uuid, uuid), read_job_products(uuid, uuid) to gateway;
grant select on cloud_details to gateway;
grant execute on function clouds_that_contain(jsonb), projects_that_contain(jsonb) to gateway;
grant select on workspaces, members to gateway;
grant insert, delete, update (name, role, notify_by_mail) on members to gateway;
grant select, insert, delete on projects, clouds to gateway;
grant update (name, description, config, version, updated_at) on projects to gateway;
grant update (name, description, properties, project_id, state, source_name, source_object, source_bytes,
              source_crc32c, version, updated_at) on clouds to gateway;
grant select, insert on jobs to gateway;
grant update (state, cancel_requested_at, ended_at, sequence) on jobs to gateway;
grant select, insert on job_events to gateway;
grant select on attempts, products to gateway;
grant select, insert on idempotency_keys to gateway;
grant execute on function take_idempotency_key(uuid, text, text, text) to gateway;
grant select (id, workspace_id, url, disabled_at, disabled_reason, created_at), insert, delete on webhooks to gateway;
grant select on deliveries to gateway;
grant execute on function create_unique_job(uuid, text, jsonb, uuid, smallint, text, text, text, boolean, text, text,
    bytea) to gateway;
grant update (unique_key) on jobs to gateway;
grant select, insert, delete on schedules to gateway;
grant update (name, params, priority, run_at, cron, timezone, overlap, missed, next_at, waiting_since, paused_at,
              version, updated_at) on schedules to gateway;
grant execute on function list_workspaces(timestamptz, uuid, integer),
    change_workspace(uuid, integer, boolean, integer), read_workspace(uuid, boolean) to gateway;
grant update (paused_at, starts_per_minute) on kinds to gateway;
grant execute on function filter_jobs(uuid, jsonb), cancel_jobs(uuid, jsonb, integer),
    retry_jobs(uuid, jsonb, integer, text, text) to gateway;
-- Pipelines. Who ends a job settles those that wait for it.
grant execute on function create_child_job(uuid, text, jsonb, uuid, smallint, text, text, uuid[], jsonb, uuid, uuid),
    create_child_job_once(uuid, text, jsonb, uuid, smallint, text, text, uuid[], jsonb, text, text, bytea),
    newest_retry(uuid), read_families(uuid, uuid[]) to gateway;
grant execute on function settle_child(uuid) to gateway, processor;
grant select, insert on job_parents to gateway;
grant update (error, available_at, start_by, end_by, has_children) on jobs to gateway;

grant select, update (state, mended, outcome) on dead_letters to gateway, processor, notifier;
grant insert on dead_letter_acts to gateway, processor, notifier;
grant select on dead_letter_acts to gateway;
grant execute on function move_dead_letter(uuid, text, text, text, bytea) to gateway, processor, notifier;

grant execute on function read_live_events(uuid, xid8, bigint, integer) to gateway;

-- processor
grant execute on function keep_dead_letter(bytea, text, text, text, text, text, text, text, text, jsonb, bytea,
    bigint, boolean) to processor;
grant insert, delete, update (seen, last_seen_at, reason, detail, headers) on dead_letters to processor;
grant execute on function claim_job(text, text[], double precision, uuid, integer, bigint),
    claim_light_jobs(text, text[], double precision, uuid, integer), finish_light_jobs(jsonb),
    choose_jobs(text[], integer, boolean), open_kinds(text[], integer, bigint),
    workspaces_in_line(text[], boolean), best_job(uuid, text[]), starts_left(text, integer),
    finish_job(uuid, integer, jsonb, jsonb, text), end_attempt(jobs, text, jsonb, boolean, text),
    out_of_time(jobs, text), why_not_started(jobs),
    fail_job(uuid, integer, jsonb, boolean, text), release_job(uuid, integer),
    reap_lost_jobs(integer), fail_overdue_jobs(integer) to processor;
grant select on workspaces, clouds, senders to processor;
grant update (turn, turn_at, light_turn, light_turn_at) on workspaces to processor;
grant select, insert, delete on kind_starts to processor;
grant insert, update on kinds to processor;
grant select, insert on jobs, job_events to processor;
grant update (state, attempt, failures, lease_owner, lease_until, claim_token, progress, result, error,
              available_at, start_by, started_at, ended_at, sequence) on jobs to processor;
grant select, insert on attempts, products to processor;
grant select (created_at), delete on idempotency_keys to processor;
grant select (received_at), delete on inbox to processor;
grant update (ended_at, outcome, error, log_tail) on attempts to processor;

grant execute on function run_schedule(uuid, timestamptz, uuid, timestamptz), refuse_schedule(uuid, timestamptz, jsonb),
    cancel_job(uuid, uuid) to processor;
grant select on schedules to processor;
grant update (next_at, waiting_since, paused_at, last_planned_at, last_at, last_outcome, last_job_id, last_error)
    on schedules to processor;
grant update (schedule_id, cancel_requested_at) on jobs to processor;
grant execute on function settle_waiting_jobs(integer) to processor;
grant select on job_parents to processor;
grant update (end_by) on jobs to processor;

-- notifier
grant execute on function plan_deliveries(uuid) to notifier;
grant select on job_events, members, workspaces, clouds, products, webhooks to notifier;
grant update (disabled_at, disabled_reason) on webhooks to notifier;
grant select, insert on inbox, deliveries to notifier;
grant update (state, tries, next_at, last_error, ended_at) on deliveries to notifier;
