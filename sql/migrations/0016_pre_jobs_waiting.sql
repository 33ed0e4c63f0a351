-- no-transaction
-- What waits for others, for the sweep of what nothing keeps waiting.
create index concurrently jobs_waiting on jobs (depth, id) where state = 'waiting';
