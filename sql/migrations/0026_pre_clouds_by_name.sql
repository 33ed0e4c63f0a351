-- no-transaction
-- Clouds in the order of their names.
create index concurrently clouds_by_name on clouds (workspace_id, name, id);
