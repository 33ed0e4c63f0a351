-- no-transaction
-- Whether a job was retried already.
create index concurrently jobs_retried on jobs (workspace_id, retry_of) where retry_of is not null;
