-- no-transaction
create index concurrently live_events on job_events (workspace_id, xid, id);
