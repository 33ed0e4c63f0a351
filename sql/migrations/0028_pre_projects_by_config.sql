-- no-transaction
-- Projects whose config contains what is asked for.
create index concurrently projects_by_config on projects using gin (config jsonb_path_ops);
