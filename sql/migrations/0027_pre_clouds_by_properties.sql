-- no-transaction
-- Clouds whose properties contain what is asked for.
create index concurrently clouds_by_properties on clouds using gin (properties jsonb_path_ops);
