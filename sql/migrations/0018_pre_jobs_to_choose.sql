-- no-transaction
-- What may be claimed: from workspace to workspace by skipping, and of each kind its best job by one look.
create index concurrently jobs_to_choose on jobs (workspace_id, kind, priority desc, available_at, id)
    where state = 'queued';
