-- no-transaction
-- What has to end by a time, for the sweep of those that have not.
create index concurrently jobs_to_end on jobs (end_by) where end_by is not null and ended_at is null;
