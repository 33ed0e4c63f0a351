-- no-transaction
create index concurrently jobs_of_a_schedule on jobs (workspace_id, schedule_id, created_at desc, id desc)
    where schedule_id is not null
