-- no-transaction
create unique index concurrently jobs_one_of_a_key on jobs (workspace_id, unique_key)
    where unique_key is not null and state in ('waiting', 'queued', 'running')
